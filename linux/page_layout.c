/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/page_layout.h"

#include <string.h>

#include "base/attr.h"
#include "guest/os.h"

#define MAPPING_ANON 1u /* include/linux/page-flags.h: of page.mapping */
#define TAIL 1u         /* of page.compound_head */
#define MAX_ORDER 22u   /* of a compound page: 16 GiB in pages of 4 KiB */
#define MAX_FREE_ORDERS 32u
/* Since Linux 6.12 a type is the top byte, up to 6.11 a bit that is 0 where all others are 1. */
#define TYPE_SHIFT 24u
#define TYPED (1u << 31)

/* ---- what VMCOREINFO says ---- */

enum key_kind {
	KEY_LONG, /* the offset of 8 bytes */
	KEY_INT,  /* of 4 */
	KEY_BIT,  /* a bit's number; kept as its mask */
	KEY_TYPE, /* a value of 32 bits */
	KEY_NUMBER,
};

struct key {
	const char *name;
	size_t at; /* in struct page_layout */
	enum key_kind kind;
	bool optional;
};

#define AT(member) offsetof(struct page_layout, member)

static const struct key KEYS[] = {
	{ "OFFSET(page.flags)", AT(flags), KEY_LONG, false },
	{ "OFFSET(page._mapcount)", AT(mapcount), KEY_INT, false },
	{ "OFFSET(page.mapping)", AT(mapping), KEY_LONG, false },
	{ "OFFSET(page.private)", AT(private), KEY_LONG, false },
	{ "OFFSET(page.compound_head)", AT(compound_head), KEY_LONG, false },
	{ "LENGTH(zone.free_area)", AT(n_orders), KEY_NUMBER, false },
	{ "NUMBER(PG_head_mask)", AT(pg_head), KEY_NUMBER, false },
	{ "NUMBER(PG_lru)", AT(pg_lru), KEY_BIT, false },
	{ "NUMBER(PG_private)", AT(pg_private), KEY_BIT, false },
	{ "NUMBER(PG_swapcache)", AT(pg_swapcache), KEY_BIT, false },
	{ "NUMBER(PG_swapbacked)", AT(pg_swapbacked), KEY_BIT, true },
	{ "NUMBER(PG_slab)", AT(pg_slab), KEY_BIT, true },
	{ "NUMBER(PG_hwpoison)", AT(pg_hwpoison), KEY_BIT, true },
	{ "NUMBER(PG_hugetlb)", AT(pg_hugetlb), KEY_BIT, true },
	{ "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", AT(buddy), KEY_TYPE, false },
	{ "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)", AT(offline), KEY_TYPE, true },
	{ "NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)", AT(unaccepted), KEY_TYPE, true },
	{ "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)", AT(slab), KEY_TYPE, true },
	{ "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)", AT(hugetlb), KEY_TYPE, true },
	{ "NUMBER(HUGETLB_PAGE_DTOR)", AT(hugetlb_dtor), KEY_NUMBER, true },
};

static bool fits(uint64_t offset, uint64_t bytes, size_t page_bytes)
{
	return offset <= page_bytes - bytes;
}

static struct err *set_key(const struct key *key, uint64_t value, size_t page_bytes, struct page_layout *l)
{
	bool ok = true;

	if (key->kind == KEY_LONG || key->kind == KEY_INT)
		ok = fits(value, key->kind == KEY_LONG ? 8 : 4, page_bytes);
	if (key->kind == KEY_BIT)
		ok = value < 64;
	if (!ok)
		return vmcoreinfo_senseless(key->name, value);
	if (key->kind == KEY_BIT)
		value = 1ull << value;
	if (key->kind == KEY_TYPE)
		value = (uint32_t)value;
	memcpy((char *)l + key->at, &value, sizeof(value));
	return NULL;
}

/*
 * Where the order of a compound page is: Linux 6.6 has it in the flags of the second page,
 * 6.3 to 6.5 in struct folio, others in struct page. There the kind of the page stands
 * just before it, in as many bytes.
 */
static struct err *find_order(const struct vmcoreinfo *info, size_t page_bytes, struct page_layout *l)
{
	static const char order[] = "OFFSET(page.compound_order)", dtor[] = "OFFSET(page.compound_dtor)";
	uint64_t of_folio = page_bytes;
	struct err *e;

	if (l->pg_hugetlb || l->hugetlb || l->slab)
		return NULL;
	if (!vmcoreinfo_number(info, "OFFSET(folio._folio_order)", 10, &l->order) ||
	    !vmcoreinfo_number(info, "OFFSET(folio._folio_dtor)", 10, &l->dtor)) {
		of_folio = 0;
		e = vmcoreinfo_need(info, order, 10, &l->order);
		if (!e)
			e = vmcoreinfo_need(info, dtor, 10, &l->dtor);
		if (e)
			return e;
	}
	l->order -= of_folio;
	l->dtor -= of_folio;
	l->order_bytes = l->order - l->dtor;
	if (l->order_bytes != 1 && l->order_bytes != 2 && l->order_bytes != 4)
		return vmcoreinfo_senseless(dtor, l->dtor);
	if (!fits(l->order, l->order_bytes, page_bytes) || !fits(l->dtor, l->order_bytes, page_bytes))
		return vmcoreinfo_senseless(order, l->order);
	return NULL;
}

struct err *page_layout_read(const struct vmcoreinfo *info, enum byte_order order, size_t page_bytes,
			     struct page_layout *ret)
{
	struct page_layout l = { .swap = order != order_of_host() };
	struct err *e = NULL;

	for (size_t i = 0; !e && i < ARRAY_LEN(KEYS); i++) {
		const struct key *key = &KEYS[i];
		uint64_t value;

		if (!key->optional)
			e = vmcoreinfo_need(info, key->name, 10, &value);
		if (!e && vmcoreinfo_number(info, key->name, 10, &value))
			e = set_key(key, value, page_bytes, &l);
	}
	/* Slab pages are marked by a flag or, later, by a type. */
	if (!e && !l.slab)
		e = vmcoreinfo_need(info, "NUMBER(PG_slab)", 10, &(uint64_t){ 0 });
	if (!e && (!l.n_orders || l.n_orders > MAX_FREE_ORDERS))
		e = vmcoreinfo_senseless("LENGTH(zone.free_area)", l.n_orders);
	if (!e)
		e = find_order(info, page_bytes, &l);
	if (!e)
		*ret = l;
	return e;
}

/* ---- what a page is; a few ns each, so loads are done here ---- */

static inline uint64_t load_long(const struct page_layout *l, const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return l->swap ? __builtin_bswap64(value) : value;
}

static inline uint32_t load_int(const struct page_layout *l, const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return l->swap ? __builtin_bswap32(value) : value;
}

/* Of 1, 2 or 4 bytes. */
static uint64_t load_small(const struct page_layout *l, const uint8_t *at, uint64_t bytes)
{
	uint16_t value;

	if (bytes == 1)
		return *at;
	if (bytes == 4)
		return load_int(l, at);
	memcpy(&value, at, sizeof(value));
	return l->swap ? __builtin_bswap16(value) : value;
}

/* A compound page, or just one. */
struct compound {
	unsigned order;
	bool hugetlb;
};

/* A type beside which the rest of the 32 bits may have other uses. */
static bool has_type(uint32_t mapcount, uint64_t type)
{
	if (!type || !(mapcount & TYPED))
		return false;
	if (type & ((1u << TYPE_SHIFT) - 1))
		return !(mapcount & ~(uint32_t)type);
	return mapcount >> TYPE_SHIFT == type >> TYPE_SHIFT;
}

static bool is_aligned(uint64_t pfn, uint64_t order)
{
	return !(pfn & ((1ull << order) - 1));
}

/* False when a compound page makes no sense: the page behind its head must lead back to it. */
static bool read_compound(const struct page_layout *l, const struct page_at *at, uint32_t mapcount,
			  struct compound *ret)
{
	uint64_t order;

	if (!at->next || load_long(l, at->next + l->compound_head) != (at->gva | TAIL))
		return false;
	if (l->order_bytes) {
		order = load_small(l, at->next + l->order, l->order_bytes);
		ret->hugetlb = l->hugetlb_dtor && load_small(l, at->next + l->dtor, l->order_bytes) == l->hugetlb_dtor;
	} else {
		uint64_t flags = load_long(l, at->next + l->flags);

		order = flags & 0xff;
		ret->hugetlb = flags & l->pg_hugetlb || has_type(mapcount, l->hugetlb);
	}
	ret->order = (unsigned)order;
	return order <= MAX_ORDER && is_aligned(at->pfn, order);
}

/* PG_swapcache shares its bit with another flag where the page is not swap-backed. */
static bool is_cache(const struct page_layout *l, uint64_t flags)
{
	return flags & l->pg_lru || (flags & l->pg_swapcache && (!l->pg_swapbacked || flags & l->pg_swapbacked));
}

/* Of a page that is in use. */
static unsigned class_in_use(const struct page_layout *l, unsigned classes, const uint8_t *page, uint64_t flags,
			     uint32_t mapcount, bool hugetlb)
{
	bool slab = flags & l->pg_slab || has_type(mapcount, l->slab);
	bool anon = !slab && load_long(l, page + l->mapping) & MAPPING_ANON;

	if (!anon && is_cache(l, flags)) {
		if (!(flags & l->pg_private) && classes & (PAGES_CACHE | PAGES_PRIVATE))
			return PAGES_CACHE;
		if (flags & l->pg_private && classes & PAGES_PRIVATE)
			return PAGES_PRIVATE;
	}
	if (classes & PAGES_USER && (anon || hugetlb))
		return PAGES_USER;
	if (flags & l->pg_hwpoison || (l->offline && mapcount == l->offline && !slab))
		return PAGES_FREE;
	return 0;
}

/* Of one that is on a list of free pages. */
static unsigned class_free(const struct page_at *at, uint64_t order, uint64_t n_orders, unsigned *ret_order)
{
	if (order >= n_orders || !is_aligned(at->pfn, order))
		return 0;
	*ret_order = (unsigned)order;
	return PAGES_FREE;
}

unsigned page_class(const struct page_layout *l, unsigned classes, const struct page_at *at, unsigned *ret_order)
{
	uint64_t flags = load_long(l, at->page + l->flags);
	uint32_t mapcount = load_int(l, at->page + l->mapcount);
	struct compound compound = { 0 };

	*ret_order = 0;
	if (load_long(l, at->page + l->compound_head) & TAIL)
		return 0; /* its head spoke for it */
	if (classes & PAGES_FREE && mapcount == l->buddy && !(flags & l->pg_slab))
		return class_free(at, load_long(l, at->page + l->private), l->n_orders, ret_order);
	if (classes & PAGES_FREE && l->unaccepted && mapcount == l->unaccepted)
		return class_free(at, l->n_orders - 1, l->n_orders, ret_order);
	if (flags & l->pg_head && !read_compound(l, at, mapcount, &compound))
		return 0;
	*ret_order = compound.order;
	return class_in_use(l, classes, at->page, flags, mapcount, compound.hugetlb);
}
