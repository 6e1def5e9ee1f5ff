/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "arch/ppc64/ppc64.h"
#include "base/buf.h"
#include "guest/fake.h"
#include "guest/os.h"
#include "linux/linux.h"
#include "tests/suite.h"

/*
 * A guest with a memory map as Linux has it. It is a ppc64, which runs in both byte
 * orders, and whose linear map needs no page tables.
 */
#define MIB (1ull << 20)
#define LINEAR 0xc000000000000000ull
#define VMEMMAP 0xc00c000000000000ull /* where page tables are hashed: nothing tells what is there */
#define RUN_AT_0 0x72756e30u
#define NOTE_GPA 0x3000u
#define BACKING_GPA 0x8000u  /* the list of what is at VMEMMAP */
#define PSIZES_GPA 0xe000u
#define ROOTS_GPA 0xf0000u
#define ROOT_GPA(i) (0x100000u + (i) * 0x10000u)
#define PER_ROOT 8u
#define N_ROOTS 8u
#define MAP_GPA (16 * MIB)
#define BACKING_SHIFT 20u
#define N_BACKING 16u
#define HIGH_GPA (256 * MIB)
#define HIGH_BYTES (8 * MIB)
#define RAM_BYTES (64 * MIB)
#define ODD_GPA (512 * MIB + 0x800) /* a block that neither starts nor ends with a frame */
#define ODD_BYTES (20 * MIB)
#define N_ORDERS 7u

/* Of struct page. */
#define FLAGS 0u
#define HEAD 8u
#define DTOR 16u
#define MAPPING 24u
#define PRIVATE 40u
#define MAPCOUNT 48u

#define PG_LRU (1u << 4)
#define PG_SLAB (1u << 9)
#define PG_SWAPCACHE (1u << 10)
#define PG_PRIVATE (1u << 13)
#define PG_HEAD (1u << 16)
#define PG_SWAPBACKED (1u << 19)
#define PG_HWPOISON (1u << 22)
#define PG_HUGETLB 8u /* the number of the bit in Linux 6.6 */
#define HUGETLB_DTOR 2u
#define UNMAPPED 0xffffffffu /* what _mapcount is of a page that no process has */

#define PRESENT 1u
#define HAS_MAP 2u
#define ONLINE 4u
#define IN_USE (PRESENT | HAS_MAP | ONLINE)

#define EVERY (PAGES_ALL & ~PAGES_ZERO)

struct shape {
	enum byte_order order;
	unsigned page_shift;
	size_t page_bytes;
};

/* Chunks that the map is read in end within a section, too. */
static const struct shape SHAPES[] = {
	{ ORDER_LITTLE, 12, 64 }, { ORDER_BIG, 12, 64 }, { ORDER_LITTLE, 16, 64 }, { ORDER_BIG, 16, 64 },
	{ ORDER_LITTLE, 12, 56 }, { ORDER_BIG, 12, 72 },
};

struct line {
	const char *key, *value;
};

static const struct line LINES[] = {
	{ "LENGTH(mem_section)", "8" },
	{ "OFFSET(mem_section.section_mem_map)", "16" },
	{ "NUMBER(SECTION_SIZE_BITS)", "24" },
	{ "OFFSET(page.flags)", "0" },
	{ "OFFSET(page.mapping)", "24" },
	{ "OFFSET(page._mapcount)", "48" },
	{ "OFFSET(page.private)", "40" },
	{ "OFFSET(page.compound_head)", "8" },
	{ "LENGTH(zone.free_area)", "7" },
	{ "NUMBER(PG_lru)", "4" },
	{ "NUMBER(PG_private)", "13" },
	{ "NUMBER(PG_swapcache)", "10" },
	{ "NUMBER(PG_swapbacked)", "19" },
	{ "NUMBER(PG_head_mask)", "65536" },
	{ "NUMBER(PG_hwpoison)", "22" },
};

/* How compound pages and types of pages have changed. */
struct version {
	const char *name;
	struct line lines[8];
	uint32_t buddy, offline, unaccepted, slab, hugetlb; /* 0: it has no such type */
	unsigned order_bytes;                               /* 0: in the second page's flags */
};

#define TYPES_BY_BIT                                                                       \
	{ "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", "-129" }, { "NUMBER(PG_slab)", "9" },       \
	{ "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)", "-257" }

static const struct version VERSIONS[] = {
	{ "4.7", { TYPES_BY_BIT, { "OFFSET(page.compound_dtor)", "16" }, { "OFFSET(page.compound_order)", "20" },
		   { "NUMBER(HUGETLB_PAGE_DTOR)", "2" } },
	  -129, -257, 0, 0, 0, 4 },
	{ "6.1", { TYPES_BY_BIT, { "OFFSET(page.compound_dtor)", "16" }, { "OFFSET(page.compound_order)", "17" },
		   { "NUMBER(HUGETLB_PAGE_DTOR)", "2" } },
	  -129, -257, 0, 0, 0, 1 },
	{ "6.4", { TYPES_BY_BIT, { "NUMBER(HUGETLB_PAGE_DTOR)", "2" } }, -129, -257, 0, 0, 0, 1 },
	{ "6.6", { TYPES_BY_BIT, { "NUMBER(PG_hugetlb)", "8" } }, -129, -257, 0, 0, 0, 0 },
	{ "6.11", { { "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", "-1073741825" },
		    { "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)", "-536870913" },
		    { "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)", "-33554433" },
		    { "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)", "-67108865" } },
	  ~0x40000000u, ~0x20000000u, 0, ~0x02000000u, ~0x04000000u, 0 },
	{ "6.15", { { "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", "-268435456" },
		    { "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)", "-251658240" },
		    { "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)", "4110417920" },
		    { "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)", "-201326592" },
		    { "NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)", "-150994944" } },
	  0xf0000000, 0xf1000000, 0xf7000000, 0xf5000000, 0xf4000000, 0 },
};

#define V6_1 (&VERSIONS[1])

struct test {
	struct guest *g;
	const struct shape *shape;
	const struct version *version;
	uint64_t map; /* where the struct page of frame 0 is */
	struct page_classes found;
};

/* A line in place of one of that key, or with no value none. */
struct change {
	const char *key, *value;
};

static void poke(struct guest *g, uint64_t gpa, size_t bytes, uint64_t value)
{
	store_uint(fake_at(g, gpa), bytes, g->order, value);
}

static uint64_t frame(const struct test *t, uint64_t gpa)
{
	return gpa >> t->shape->page_shift;
}

/* The exclusive end of all frames; the last one is not whole. */
static uint64_t end_frame(const struct test *t)
{
	return frame(t, ODD_GPA + ODD_BYTES);
}

static uint64_t page_gva(const struct test *t, uint64_t pfn)
{
	return t->map + pfn * t->shape->page_bytes;
}

static void set(struct test *t, uint64_t pfn, unsigned offset, size_t bytes, uint64_t value)
{
	poke(t->g, MAP_GPA + pfn * t->shape->page_bytes + offset, bytes, value);
}

static void clear(struct test *t, uint64_t pfn, uint64_t n)
{
	memset(fake_at(t->g, MAP_GPA + pfn * t->shape->page_bytes), 0, n * t->shape->page_bytes);
}

/* ---- the guest ---- */

static void add_line(struct buf *info, const struct change *change, const char *key, const char *value)
{
	if (change && !strcmp(change->key, key))
		value = change->value;
	if (value)
		buf_addf(info, "%s=%s\n", key, value);
}

static void add_number(struct buf *info, const struct change *change, const char *key, int64_t value)
{
	struct buf text = { 0 };

	buf_addf(&text, "%lld", (long long)value);
	add_line(info, change, key, buf_str(&text));
	buf_deinit(&text);
}

static void add_folio(struct buf *info, const struct test *t)
{
	if (!strcmp(t->version->name, "6.4")) {
		add_number(info, NULL, "OFFSET(folio._folio_dtor)", (int64_t)t->shape->page_bytes + DTOR);
		add_number(info, NULL, "OFFSET(folio._folio_order)", (int64_t)t->shape->page_bytes + DTOR + 1);
	}
}

static void write_note(struct test *t, const struct buf *info)
{
	static const char owner[12] = "VMCOREINFO";

	poke(t->g, NOTE_GPA, 4, sizeof("VMCOREINFO"));
	poke(t->g, NOTE_GPA + 4, 4, info->len);
	memcpy(fake_at(t->g, NOTE_GPA + 12), owner, sizeof(owner));
	memcpy(fake_at(t->g, NOTE_GPA + 24), info->data, info->len);
}

static void set_info(struct test *t, const struct change *change)
{
	int64_t frame_bytes = 1 << t->shape->page_shift;
	struct buf info = { 0 };

	buf_adds(&info, "OSRELEASE=6.1.0-test\n");
	add_number(&info, change, "PAGESIZE", frame_bytes);
	add_line(&info, change, "SYMBOL(_stext)", "c000000000000000");
	add_line(&info, change, "SYMBOL(mem_section)", "c0000000000f0000");
	add_number(&info, change, "SIZE(mem_section)", frame_bytes / PER_ROOT);
	add_number(&info, change, "SIZE(page)", (int64_t)t->shape->page_bytes);
	for (size_t i = 0; i < ARRAY_LEN(LINES); i++)
		add_line(&info, change, LINES[i].key, LINES[i].value);
	for (size_t i = 0; i < ARRAY_LEN(t->version->lines) && t->version->lines[i].key; i++)
		add_line(&info, change, t->version->lines[i].key, t->version->lines[i].value);
	add_folio(&info, t);
	if (t->map == VMEMMAP)
		buf_adds(&info, "SYMBOL(vmemmap_list)=c000000000008000\nSYMBOL(mmu_vmemmap_psize)=c000000000008008\n"
				"SYMBOL(mmu_psize_defs)=c00000000000e000\nSIZE(mmu_psize_def)=96\n"
				"OFFSET(mmu_psize_def.shift)=4\nOFFSET(vmemmap_backing.list)=0\n"
				"OFFSET(vmemmap_backing.phys)=8\nOFFSET(vmemmap_backing.virt_addr)=16\n");
	write_note(t, &info);
	buf_deinit(&info);
}

static uint64_t section_at(const struct test *t, unsigned nr)
{
	return ROOT_GPA(nr / PER_ROOT) + nr % PER_ROOT * (1ull << t->shape->page_shift) / PER_ROOT + 16;
}

/* Sections have 16 MiB. What it says is where the struct page of frame 0 would be. */
static void set_section(struct test *t, unsigned nr, uint64_t flags)
{
	poke(t->g, ROOTS_GPA + nr / PER_ROOT * 8, 8, LINEAR + ROOT_GPA(nr / PER_ROOT));
	poke(t->g, section_at(t, nr), 8, t->map | flags);
}

static void start_with(struct test *t, const struct shape *shape, const struct version *version, uint64_t map,
		       const struct change *change)
{
	const struct mem_block blocks[] = {
		{ .gpa = 0, .bytes = RAM_BYTES },
		{ .gpa = HIGH_GPA, .bytes = HIGH_BYTES },
		{ .gpa = ODD_GPA, .bytes = ODD_BYTES },
	};
	static const unsigned sections[] = { 0, 1, 2, 3, 16, 32, 33 };
	struct regs *r;

	*t = (struct test){ .shape = shape, .version = version, .map = map };
	t->g = fake_create(&arch_ppc64, shape->order, 1, blocks, ARRAY_LEN(blocks));
	fake_of(t->g)->sparse = true;
	poke(t->g, 0x5c, 4, RUN_AT_0);
	r = fake_of(t->g)->regs[0];
	regs_set(r, PPC64_MSR, PPC64_MSR_DR | (shape->order == ORDER_LITTLE ? PPC64_MSR_LE : 0));
	regs_set(r, PPC64_LPCR, shape->order == ORDER_LITTLE ? PPC64_LPCR_ILE : 0);
	t->g->os = linux_os_create(t->g);
	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		set_section(t, sections[i], IN_USE);
	set_info(t, change);
}

static void start(struct test *t, const struct shape *shape, const struct version *version)
{
	start_with(t, shape, version, LINEAR + MAP_GPA, NULL);
}

static void end(struct test *t)
{
	page_classes_deinit(&t->found);
	guest_destroy(t->g);
}

static void find(struct test *t, unsigned classes)
{
	struct err *e;

	page_classes_deinit(&t->found);
	e = os_pages(t->g, classes, &t->found);
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	ck_assert_uint_eq(t->found.set.page_shift, t->shape->page_shift);
}

/* Just n frames from pfn on are of this class, and no others of any. */
static void assert_found(const struct test *t, const char *name, unsigned class, uint64_t pfn, uint64_t n)
{
	uint64_t counts[N_PAGE_CLASSES] = { 0 }, wrong = 0;

	if (class)
		counts[__builtin_ctz(class)] = n;
	while (wrong <= end_frame(t) && page_set_has(&t->found.set, wrong) == (wrong - pfn < n))
		wrong++;
	ck_assert_msg(wrong > end_frame(t), "%s, %s: frame %#llx", name, t->version->name,
		      (unsigned long long)wrong);
	ck_assert_msg(!memcmp(t->found.counts, counts, sizeof(counts)), "%s, %s: %llu pages", name, t->version->name,
		      (unsigned long long)t->found.set.count);
}

/* ---- one page ---- */

enum mark { NONE, BUDDY, OFFLINE, UNACCEPTED, SLAB, HUGETLB };

static const struct use {
	const char *name;
	uint64_t flags, mapping;
	enum mark mark;
	unsigned order;
	bool tail;
	unsigned all;      /* its class when all are asked for */
	unsigned alone[4]; /* when just one is: cache, private, user, free */
} USES[] = {
	{ "a kernel's", 0, 0, NONE, 0, false, 0, { 0 } },
	{ "with an address space", 0, 0x1000, NONE, 0, false, 0, { 0 } },
	{ "free", 0, 0, BUDDY, 0, false, PAGES_FREE, { 0, 0, 0, PAGES_FREE } },
	{ "free pages", PG_PRIVATE, 0, BUDDY, 5, false, PAGES_FREE, { 0, 0, 0, PAGES_FREE } },
	{ "the most free pages", 0, 0, BUDDY, N_ORDERS - 1, false, PAGES_FREE, { 0, 0, 0, PAGES_FREE } },
	{ "not yet accepted", 0, 0, UNACCEPTED, N_ORDERS - 1, false, PAGES_FREE, { 0, 0, 0, PAGES_FREE } },
	{ "cache", PG_LRU, 0x1000, NONE, 0, false, PAGES_CACHE, { PAGES_CACHE, PAGES_CACHE, 0, 0 } },
	{ "large cache", PG_LRU | PG_HEAD, 0x1000, NONE, 4, false, PAGES_CACHE, { PAGES_CACHE, PAGES_CACHE, 0, 0 } },
	{ "cache with data", PG_LRU | PG_PRIVATE, 0x1000, NONE, 0, false, PAGES_PRIVATE, { 0, PAGES_PRIVATE, 0, 0 } },
	{ "swap cache", PG_SWAPCACHE | PG_SWAPBACKED, 0, NONE, 0, false, PAGES_CACHE,
	  { PAGES_CACHE, PAGES_CACHE, 0, 0 } },
	{ "owned", PG_SWAPCACHE, 0, NONE, 0, false, 0, { 0 } },
	{ "user", PG_LRU | PG_SWAPBACKED, 0x1001, NONE, 0, false, PAGES_USER, { 0, 0, PAGES_USER, 0 } },
	{ "user, on no list", 0, 0x1001, NONE, 0, false, PAGES_USER, { 0, 0, PAGES_USER, 0 } },
	{ "user, merged", PG_LRU, 0x1003, NONE, 0, false, PAGES_USER, { 0, 0, PAGES_USER, 0 } },
	{ "movable", 0, 0x1002, NONE, 0, false, 0, { 0 } },
	{ "large user", PG_LRU | PG_HEAD, 0x1001, NONE, 6, false, PAGES_USER, { 0, 0, PAGES_USER, 0 } },
	{ "hugetlb", PG_HEAD, 0, HUGETLB, 5, false, PAGES_USER, { 0, 0, PAGES_USER, 0 } },
	{ "large of the kernel's", PG_HEAD, 0, NONE, 3, false, 0, { 0 } },
	{ "slab", 0, 0x1001, SLAB, 0, false, 0, { 0 } },
	{ "large slab", PG_HEAD, 0x1001, SLAB, 3, false, 0, { 0 } },
	{ "a tail", PG_LRU, 0x1000, NONE, 0, true, 0, { 0 } },
	{ "offline", 0, 0, OFFLINE, 0, false, PAGES_FREE, { PAGES_FREE, PAGES_FREE, PAGES_FREE, PAGES_FREE } },
	{ "broken", PG_HWPOISON, 0, NONE, 0, false, PAGES_FREE, { PAGES_FREE, PAGES_FREE, PAGES_FREE, PAGES_FREE } },
	{ "broken user", PG_HWPOISON, 0x1001, NONE, 0, false, PAGES_USER,
	  { PAGES_FREE, PAGES_FREE, PAGES_USER, PAGES_FREE } },
};

static uint32_t mapcount_of(const struct version *v, enum mark mark)
{
	const uint32_t types[] = {
		[NONE] = UNMAPPED, [BUDDY] = v->buddy, [OFFLINE] = v->offline, [UNACCEPTED] = v->unaccepted,
		[SLAB] = v->slab, [HUGETLB] = v->hugetlb,
	};

	return types[mark] ? types[mark] : UNMAPPED;
}

static void set_compound(struct test *t, uint64_t pfn, unsigned order, bool hugetlb)
{
	unsigned bytes = t->version->order_bytes;

	for (uint64_t i = 1; i < 1ull << order; i++)
		set(t, pfn + i, HEAD, 8, page_gva(t, pfn) | 1);
	if (bytes) {
		set(t, pfn + 1, DTOR, bytes, hugetlb ? HUGETLB_DTOR : 1);
		set(t, pfn + 1, DTOR + bytes, bytes, order);
	} else {
		set(t, pfn + 1, FLAGS, 8, 0xab0000ull | order | (hugetlb && !t->version->hugetlb) << PG_HUGETLB);
	}
}

static void set_use(struct test *t, uint64_t pfn, const struct use *u)
{
	bool slab = u->mark == SLAB && !t->version->slab;

	set(t, pfn, FLAGS, 8, u->flags | (slab ? PG_SLAB : 0));
	set(t, pfn, MAPPING, 8, u->mapping);
	set(t, pfn, MAPCOUNT, 4, mapcount_of(t->version, u->mark));
	if (u->tail)
		set(t, pfn, HEAD, 8, page_gva(t, pfn - 1) | 1);
	if (u->mark == BUDDY)
		set(t, pfn, PRIVATE, 8, u->order);
	if (u->flags & PG_HEAD)
		set_compound(t, pfn, u->order, u->mark == HUGETLB);
}

static void check_use(struct test *t, uint64_t pfn, const struct use *u)
{
	uint64_t n = 1ull << u->order;

	clear(t, pfn, n);
	set_use(t, pfn, u);
	find(t, EVERY);
	assert_found(t, u->name, u->all, pfn, u->all ? n : 0);
	for (unsigned i = 0; i < ARRAY_LEN(u->alone); i++) {
		find(t, PAGES_CACHE << i);
		assert_found(t, u->name, u->alone[i], pfn, u->alone[i] ? n : 0);
	}
	clear(t, pfn, n);
}

START_TEST(each_use)
{
	struct test t;

	start(&t, &SHAPES[_i / ARRAY_LEN(VERSIONS)], &VERSIONS[_i % ARRAY_LEN(VERSIONS)]);
	for (size_t i = 0; i < ARRAY_LEN(USES); i++)
		if (USES[i].mark != UNACCEPTED || t.version->unaccepted)
			check_use(&t, 0x80, &USES[i]);
	end(&t);
}
END_TEST

/* They are where they are whatever is in front: at the ends of chunks, sections and blocks. */
START_TEST(each_place)
{
	static const struct use one = { "one", PG_LRU, 0x1000, NONE, 0, false, PAGES_CACHE,
					{ PAGES_CACHE, PAGES_CACHE, 0, 0 } };
	static const struct use two = { "two", PG_LRU | PG_HEAD, 0x1001, NONE, 1, false, PAGES_USER,
					{ 0, 0, PAGES_USER, 0 } };
	const struct shape *shape = &SHAPES[_i];
	uint64_t chunk = (256u << 10) / shape->page_bytes / 2 * 2;
	struct test t;

	start(&t, shape, V6_1);
	for (uint64_t pfn = 0; pfn < 2; pfn++) {
		check_use(&t, pfn, &one);
		check_use(&t, frame(&t, RAM_BYTES) - 1 - pfn, &one);
		check_use(&t, frame(&t, 16 * MIB) - pfn, &one);
		check_use(&t, frame(&t, HIGH_GPA) + pfn, &one);
		check_use(&t, frame(&t, HIGH_GPA + HIGH_BYTES) - 1 - pfn, &one);
		check_use(&t, frame(&t, ODD_GPA) + 1 + pfn, &one);
		check_use(&t, (chunk < frame(&t, 16 * MIB) ? chunk : 2) - 2 + 2 * pfn, &two);
	}
	check_use(&t, frame(&t, RAM_BYTES) - 2, &two);
	check_use(&t, frame(&t, HIGH_GPA), &two);
	check_use(&t, frame(&t, ODD_GPA) + (chunk < frame(&t, 16 * MIB) ? chunk : 2), &two);
	end(&t);
}
END_TEST

/* One behind the other, each with its own class. */
START_TEST(side_by_side)
{
	uint64_t counts[N_PAGE_CLASSES] = { 0 }, pfn = 64;
	struct test t;

	start(&t, &SHAPES[_i], V6_1);
	for (size_t i = 0; i < ARRAY_LEN(USES); i++) {
		const struct use *u = &USES[i];

		if (u->mark == UNACCEPTED || u->tail)
			continue;
		pfn = ALIGN_UP(pfn, 1u << u->order);
		set_use(&t, pfn, u);
		if (u->all)
			counts[__builtin_ctz(u->all)] += 1u << u->order;
		pfn += 1u << u->order;
	}
	find(&t, EVERY);
	ck_assert_mem_eq(t.found.counts, counts, sizeof(counts));
	end(&t);
}
END_TEST

/* ---- what makes no sense is kept ---- */

#define AT 0x80u

static void free_order_too_large(struct test *t)
{
	set(t, AT, PRIVATE, 8, N_ORDERS);
}

static void free_order_huge(struct test *t)
{
	set(t, AT, PRIVATE, 8, UINT64_MAX);
}

static void free_order_unaligned(struct test *t)
{
	clear(t, AT, 1);
	set(t, AT + 2, MAPCOUNT, 4, t->version->buddy);
	set(t, AT + 2, PRIVATE, 8, 2);
}

static void free_in_tail(struct test *t)
{
	set(t, AT, HEAD, 8, page_gva(t, AT - 1) | 1);
}

static void make_large(struct test *t, uint64_t pfn, unsigned order)
{
	clear(t, AT, 1);
	set(t, pfn, FLAGS, 8, PG_LRU | PG_HEAD);
	set(t, pfn, MAPPING, 8, 0x1001);
	set_compound(t, pfn, 2, false);
	set(t, pfn + 1, DTOR + 1, 1, order);
}

static void large_order_huge(struct test *t)
{
	make_large(t, AT, 255);
}

static void large_order_64(struct test *t)
{
	make_large(t, AT, 64);
}

static void large_order_too_large(struct test *t)
{
	make_large(t, 0, 23);
}

static void large_order_unaligned(struct test *t)
{
	make_large(t, AT + 2, 2);
}

static void large_without_tail(struct test *t)
{
	make_large(t, AT, 2);
	set(t, AT + 1, HEAD, 8, 0);
}

static void large_with_tail_of_another(struct test *t)
{
	make_large(t, AT, 2);
	set(t, AT + 1, HEAD, 8, page_gva(t, AT - 2) | 1);
}

static void large_at_the_end(struct test *t)
{
	uint64_t last = frame(t, RAM_BYTES) - 1;

	clear(t, AT, 1);
	set(t, last, FLAGS, 8, PG_LRU | PG_HEAD);
	set(t, last, MAPPING, 8, 0x1001);
}

static void half_a_frame(struct test *t)
{
	clear(t, AT, 1);
	set(t, frame(t, ODD_GPA), MAPCOUNT, 4, t->version->buddy);
	set(t, end_frame(t), MAPCOUNT, 4, t->version->buddy);
}

static void no_memory(struct test *t)
{
	clear(t, AT, 1);
	set_section(t, 5, IN_USE);
	set(t, frame(t, 5 * 16 * MIB), MAPCOUNT, 4, t->version->buddy);
}

static void no_root(struct test *t)
{
	poke(t->g, ROOTS_GPA, 8, 0);
}

static void root_is_nowhere(struct test *t)
{
	poke(t->g, ROOTS_GPA, 8, LINEAR + 128 * MIB);
}

static void not_present(struct test *t)
{
	set_section(t, 0, IN_USE & ~PRESENT);
}

static void no_map(struct test *t)
{
	set_section(t, 0, IN_USE & ~HAS_MAP);
}

/* Its struct pages have yet to be set up. */
static void not_online(struct test *t)
{
	set_section(t, 0, IN_USE & ~ONLINE);
}

static void map_is_nowhere(struct test *t)
{
	poke(t->g, section_at(t, 0), 8, (LINEAR + 1024 * MIB) | IN_USE);
}

static void map_wraps_around(struct test *t)
{
	poke(t->g, section_at(t, 0), 8, 0xffffffffffffff00 | IN_USE);
}

static void (*const MALFORMED[])(struct test *t) = {
	free_order_too_large, free_order_huge, free_order_unaligned, free_in_tail,
	large_order_huge, large_order_64, large_order_too_large, large_order_unaligned,
	large_without_tail, large_with_tail_of_another, large_at_the_end, half_a_frame,
	no_memory, no_root, root_is_nowhere, not_present, no_map, not_online, map_is_nowhere, map_wraps_around,
};

/* A free page elsewhere is found all the same. */
START_TEST(malformed)
{
	struct test t;
	uint64_t other;

	start(&t, &SHAPES[_i % ARRAY_LEN(SHAPES)], V6_1);
	other = frame(&t, HIGH_GPA) + 1;
	set(&t, AT, MAPCOUNT, 4, t.version->buddy);
	set(&t, other, MAPCOUNT, 4, t.version->buddy);
	MALFORMED[_i / ARRAY_LEN(SHAPES)](&t);
	find(&t, EVERY);
	assert_found(&t, "another", PAGES_FREE, other, 1);
	end(&t);
}
END_TEST

/* Before Linux 4.13 no section is marked as online. */
START_TEST(no_section_says_online)
{
	static const unsigned sections[] = { 0, 1, 2, 3, 16, 32, 33 };
	struct test t;

	start(&t, &SHAPES[_i], V6_1);
	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		set_section(&t, sections[i], IN_USE & ~ONLINE);
	set(&t, AT, MAPCOUNT, 4, t.version->buddy);
	find(&t, EVERY);
	assert_found(&t, "free", PAGES_FREE, AT, 1);
	end(&t);
}
END_TEST

/* A page of 1 GiB lies in all blocks: what is in none of them is no memory. */
START_TEST(larger_than_a_block)
{
	struct test t;
	uint64_t odd;

	start(&t, &SHAPES[_i], V6_1);
	odd = frame(&t, ODD_GPA);
	set(&t, 0, FLAGS, 8, PG_LRU | PG_HEAD);
	set(&t, 0, MAPPING, 8, 0x1001);
	set_compound(&t, 0, 1, false);
	set(&t, 1, DTOR + 1, 1, 30 - t.shape->page_shift);
	find(&t, PAGES_USER);
	ck_assert_uint_eq(t.found.counts[3], frame(&t, RAM_BYTES) + frame(&t, HIGH_BYTES) + frame(&t, ODD_BYTES) - 1);
	ck_assert_uint_eq(t.found.set.count, t.found.counts[3]);
	ck_assert(page_set_has(&t.found.set, frame(&t, HIGH_GPA)) && page_set_has(&t.found.set, odd + 1));
	ck_assert(!page_set_has(&t.found.set, frame(&t, RAM_BYTES)) && !page_set_has(&t.found.set, odd));
	end(&t);
}
END_TEST

/* ---- a map that page tables do not tell of ---- */

#define ENTRY(i) (BACKING_GPA + 0x100 + 24 * (i))

/* The list leads to its entries in no order; without one of them, or for ever. */
static void set_backing(struct test *t, unsigned missing, bool loops)
{
	unsigned first = N_BACKING;

	for (unsigned i = 0; i < N_BACKING; i++) {
		unsigned nr = i * 7 % N_BACKING;

		if (nr == missing)
			continue;
		poke(t->g, ENTRY(nr), 8, first == N_BACKING ? loops ? LINEAR + ENTRY(nr) : 0 : LINEAR + ENTRY(first));
		poke(t->g, ENTRY(nr) + 8, 8, MAP_GPA + ((uint64_t)nr << BACKING_SHIFT));
		poke(t->g, ENTRY(nr) + 16, 8, VMEMMAP + ((uint64_t)nr << BACKING_SHIFT));
		first = nr;
	}
	poke(t->g, BACKING_GPA, 8, LINEAR + ENTRY(first));
	poke(t->g, BACKING_GPA + 8, 4, 3);
	poke(t->g, PSIZES_GPA + 3 * 96 + 4, 4, BACKING_SHIFT);
}

/* Has the struct page a byte of what the missing entry backs? */
static bool in_hole(const struct test *t, uint64_t pfn, unsigned missing)
{
	uint64_t at = pfn * t->shape->page_bytes, hole = (uint64_t)missing << BACKING_SHIFT;

	return at < hole + (1u << BACKING_SHIFT) && at + t->shape->page_bytes > hole;
}

START_TEST(hashed)
{
	static const unsigned all[] = { 0, 1, N_BACKING };
	const struct shape *shape = &SHAPES[_i / ARRAY_LEN(all)];
	unsigned missing = all[_i % ARRAY_LEN(all)];
	uint64_t n = 0, pfn = 0;
	struct test t;

	start_with(&t, shape, V6_1, VMEMMAP, NULL);
	if (shape->page_shift == 16 && !missing)
		missing = 1; /* the first has all of the map */
	set_backing(&t, missing, false);
	for (; pfn < frame(&t, RAM_BYTES); pfn++)
		set(&t, pfn, MAPCOUNT, 4, t.version->buddy);
	find(&t, EVERY);
	for (pfn = 0; pfn < frame(&t, RAM_BYTES); pfn++) {
		bool want = !in_hole(&t, pfn, missing);

		if (page_set_has(&t.found.set, pfn) != want)
			break;
		n += want;
	}
	ck_assert_uint_eq(pfn, frame(&t, RAM_BYTES));
	ck_assert_uint_eq(t.found.counts[4], n);
	end(&t);
}
END_TEST

START_TEST(list_without_end)
{
	struct test t;

	start_with(&t, &SHAPES[0], V6_1, VMEMMAP, NULL);
	set_backing(&t, N_BACKING, true);
	set(&t, AT, MAPCOUNT, 4, t.version->buddy);
	find(&t, EVERY);
	assert_found(&t, "free", PAGES_FREE, AT, 1);
	end(&t);
}
END_TEST

/* ---- anything ---- */

static void fill(struct test *t, uint64_t gpa, uint64_t bytes, uint64_t *seed)
{
	for (uint64_t at = 0; at < bytes; at += 8) {
		*seed = *seed * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
		poke(t->g, gpa + at, 8, *seed ^ *seed >> 33);
	}
}

/* Whatever the map holds, it is gone through, and each page has one class at most. */
START_TEST(garbage)
{
	uint64_t seed = (uint64_t)_i, sum = 0;
	struct test t;

	start(&t, &SHAPES[_i % ARRAY_LEN(SHAPES)], &VERSIONS[_i % ARRAY_LEN(VERSIONS)]);
	fill(&t, MAP_GPA, 4 * MIB, &seed);
	if (_i % 2)
		fill(&t, section_at(&t, 1), 64, &seed);
	find(&t, EVERY);
	for (unsigned i = 0; i < N_PAGE_CLASSES; i++)
		sum += t.found.counts[i];
	ck_assert_uint_eq(sum, t.found.set.count);
	ck_assert_uint_lt(sum, frame(&t, RAM_BYTES + HIGH_BYTES + ODD_BYTES));
	end(&t);
}
END_TEST

/* ---- what VMCOREINFO does not say ---- */

static void assert_unknown(struct test *t, const char *text)
{
	struct err *e = os_pages(t->g, EVERY, &t->found);

	ck_assert_msg(e && err_code(e) == ERR_UNKNOWN, "%s: %s", text, e ? err_text(e) : "it was understood");
	ck_assert_msg(strstr(err_text(e), text), "%s: %s", text, err_text(e));
	err_destroy(e);
	end(t);
}

static const char *const NEEDED[] = {
	"SYMBOL(mem_section)", "LENGTH(mem_section)", "SIZE(mem_section)", "OFFSET(mem_section.section_mem_map)",
	"SIZE(page)", "OFFSET(page.flags)", "OFFSET(page.mapping)", "OFFSET(page._mapcount)", "OFFSET(page.private)",
	"OFFSET(page.compound_head)", "OFFSET(page.compound_order)", "OFFSET(page.compound_dtor)",
	"LENGTH(zone.free_area)", "NUMBER(PG_lru)", "NUMBER(PG_private)", "NUMBER(PG_swapcache)", "NUMBER(PG_slab)",
	"NUMBER(PG_head_mask)", "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)",
};

START_TEST(needed_line)
{
	const struct change change = { NEEDED[_i], NULL };
	struct test t;

	start_with(&t, &SHAPES[0], V6_1, LINEAR + MAP_GPA, &change);
	assert_unknown(&t, NEEDED[_i]);
}
END_TEST

static const char *const OPTIONAL[] = {
	"NUMBER(SECTION_SIZE_BITS)", "NUMBER(PG_swapbacked)", "NUMBER(PG_hwpoison)",
	"NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)", "NUMBER(HUGETLB_PAGE_DTOR)",
};

START_TEST(optional_line)
{
	const struct change change = { OPTIONAL[_i], NULL };
	struct test t;

	start_with(&t, &SHAPES[0], V6_1, LINEAR + MAP_GPA, &change);
	check_use(&t, AT, &USES[2]);
	end(&t);
}
END_TEST

static const struct change SENSELESS[] = {
	{ "PAGESIZE", "2048" }, { "PAGESIZE", "131072" }, { "PAGESIZE", "4097" }, { "PAGESIZE", "0" },
	{ "NUMBER(SECTION_SIZE_BITS)", "12" }, { "NUMBER(SECTION_SIZE_BITS)", "64" },
	{ "NUMBER(SECTION_SIZE_BITS)", "-1" },
	{ "LENGTH(mem_section)", "0" }, { "LENGTH(mem_section)", "18446744073709551615" },
	{ "SIZE(mem_section)", "0" }, { "SIZE(mem_section)", "8192" }, { "SIZE(mem_section)", "-8" },
	{ "OFFSET(mem_section.section_mem_map)", "505" }, { "OFFSET(mem_section.section_mem_map)", "-1" },
	{ "SIZE(page)", "0" }, { "SIZE(page)", "7" }, { "SIZE(page)", "1048576" }, { "SIZE(page)", "-64" },
	{ "OFFSET(page.flags)", "57" }, { "OFFSET(page.mapping)", "-8" }, { "OFFSET(page._mapcount)", "61" },
	{ "OFFSET(page.private)", "64" }, { "OFFSET(page.compound_head)", "1000" },
	{ "OFFSET(page.compound_order)", "64" }, { "OFFSET(page.compound_order)", "16" },
	{ "OFFSET(page.compound_dtor)", "-1" }, { "OFFSET(page.compound_dtor)", "9" },
	{ "LENGTH(zone.free_area)", "0" }, { "LENGTH(zone.free_area)", "64" },
	{ "NUMBER(PG_lru)", "64" }, { "NUMBER(PG_slab)", "-1" }, { "NUMBER(PG_hwpoison)", "200" },
};

START_TEST(senseless_line)
{
	const char *order = strstr(SENSELESS[_i].key, "compound_order") ? "compound_" : SENSELESS[_i].key;
	struct test t;

	start_with(&t, &SHAPES[0], V6_1, LINEAR + MAP_GPA, &SENSELESS[_i]);
	assert_unknown(&t, order);
}
END_TEST

/* No part of the map can be read, or none is there. */
static const struct change NOWHERE[] = {
	{ "SYMBOL(mem_section)", "c000000010000000" }, { "SYMBOL(mem_section)", "0" },
	{ "SYMBOL(mem_section)", "c000000002000000" },
};

START_TEST(nowhere)
{
	struct test t;

	start_with(&t, &SHAPES[0], V6_1, LINEAR + MAP_GPA, &NOWHERE[_i]);
	assert_unknown(&t, "mem_section");
}
END_TEST

/* Hashed, and no list; or a list that leads nowhere. */
START_TEST(no_map_at_all)
{
	struct test t;

	start_with(&t, &SHAPES[0], V6_1, VMEMMAP, NULL);
	if (_i)
		poke(t.g, BACKING_GPA, 8, LINEAR + 128 * MIB);
	assert_unknown(&t, "memory map");
}
END_TEST

static Suite *pages_suite(void)
{
	Suite *s = suite_create("pages");
	TCase *t = tcase_create("pages");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, each_use, 0, ARRAY_LEN(SHAPES) * ARRAY_LEN(VERSIONS));
	tcase_add_loop_test(t, each_place, 0, ARRAY_LEN(SHAPES));
	tcase_add_loop_test(t, side_by_side, 0, ARRAY_LEN(SHAPES));
	tcase_add_loop_test(t, malformed, 0, ARRAY_LEN(SHAPES) * ARRAY_LEN(MALFORMED));
	tcase_add_loop_test(t, no_section_says_online, 0, ARRAY_LEN(SHAPES));
	tcase_add_loop_test(t, larger_than_a_block, 0, ARRAY_LEN(SHAPES));
	tcase_add_loop_test(t, hashed, 0, 3 * ARRAY_LEN(SHAPES));
	tcase_add_test(t, list_without_end);
	tcase_add_loop_test(t, garbage, 0, 4 * ARRAY_LEN(SHAPES));
	tcase_add_loop_test(t, needed_line, 0, ARRAY_LEN(NEEDED));
	tcase_add_loop_test(t, optional_line, 0, ARRAY_LEN(OPTIONAL));
	tcase_add_loop_test(t, senseless_line, 0, ARRAY_LEN(SENSELESS));
	tcase_add_loop_test(t, nowhere, 0, ARRAY_LEN(NOWHERE));
	tcase_add_loop_test(t, no_map_at_all, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return suite_run(pages_suite());
}
