/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "arch/ppc64/ppc64.h"

#include <inttypes.h>
#include <stdlib.h>

#include "arch/walk.h"
#include "base/alloc.h"

/* Power ISA 3.0B book III, 5.7: "Virtual Real Mode", "Partition Table", "Radix Tree Translation". */

#define REAL_ADDRESS 0x0fffffffffffffffull
#define HRMOR_ADDRESS 0x0ffffffffff00000ull
#define EA_OFFSET 0x3fffffffffffffffull /* of an effective address in its quadrant */
#define QUADRANT_SHIFT 62u
#define QUADRANT_USER 0u
#define QUADRANT_KERNEL 3u

/* Partition and process tables: 16 bytes an entry. */
#define TABLE_BASE 0x0ffffffffffff000ull
#define TABLE_SIZE 0x1full /* log2 of its bytes, minus 12 */
#define PARTITION_HR (1ull << 63)

/* A process-table entry's first doubleword, and one of a directory that refers to the next. */
#define NODE_BASE 0x0fffffffffffff00ull
#define NODE_BITS 0x1full

#define ENTRY_VALID (1ull << 63)
#define ENTRY_LEAF (1ull << 62)
#define ENTRY_RPN 0x01fffffffffff000ull
#define ENTRY_PRIVILEGED (1ull << 3)
#define ENTRY_WRITE (1ull << 1)
#define ENTRY_EXECUTE (1ull << 0)

/* log2 of the bytes of a page: 4 KiB, 64 KiB, 2 MiB, 1 GiB. */
#define PAGE_SHIFTS (1ull << 12 | 1ull << 16 | 1ull << 21 | 1ull << 30)
#define PAGE_SHIFT_MIN 12u

#define ENTRY_BYTES 8u
#define NODE_BITS_MIN 5u
#define NODE_BITS_MAX 13u /* no processor has a larger directory */

#define ALL_FLAGS (MAPPING_WRITABLE | MAPPING_USER | MAPPING_EXECUTABLE)

/* A directory or table of a radix tree. */
struct node {
	uint64_t gpa;
	unsigned bits;  /* log2 of its entries */
	unsigned shift; /* log2 of the bytes that one of them spans */
};

enum entry_kind {
	ENTRY_NONE,
	ENTRY_TABLE,
	ENTRY_PAGE,
};

static bool relocation_on(const struct regs *regs)
{
	return regs_get_or(regs, PPC64_MSR, PPC64_MSR_DR) & PPC64_MSR_DR;
}

static bool hypervisor_state(const struct regs *regs)
{
	return regs_get_or(regs, PPC64_MSR, 0) & PPC64_MSR_HV;
}

/* The top bit of the address keeps HRMOR out. */
static struct mapping real_mode(const struct regs *regs, uint64_t gva)
{
	bool offset = hypervisor_state(regs) && !(gva >> 63);
	uint64_t hrmor = offset ? regs_get_or(regs, PPC64_HRMOR, 0) & HRMOR_ADDRESS : 0;
	uint64_t bytes = hrmor ? hrmor & -hrmor : REAL_ADDRESS + 1;

	return (struct mapping){
		.gva = ALIGN_DOWN(gva, bytes),
		.gpa = ALIGN_DOWN(gva & REAL_ADDRESS, bytes) | hrmor,
		.bytes = bytes,
		.flags = ALL_FLAGS,
	};
}

static const struct mapping LINEAR = {
	.gva = PPC64_LINEAR_GVA,
	.gpa = 0,
	.bytes = PPC64_LINEAR_BYTES,
	.flags = MAPPING_WRITABLE | MAPPING_EXECUTABLE,
};

static struct err *linear(uint64_t gva, struct mapping *ret)
{
	if (gva - LINEAR.gva >= LINEAR.bytes)
		return err_new(ERR_UNMAPPED,
			       "address 0x%" PRIx64 " is outside of the linear map at 0x%" PRIx64
			       ": page tables are hashed, or no register tells where they are",
			       gva, LINEAR.gva);
	*ret = LINEAR;
	return NULL;
}

/* *ret: what PRTB holds where there are radix trees, else 0. */
static struct err *find_process_table(const struct regs *regs, const struct phys_reader *mem, uint64_t *ret)
{
	uint64_t prtb = regs_get_or(regs, PPC64_PRTB, 0);
	uint64_t at = regs_get_or(regs, PPC64_PTCR, 0) & TABLE_BASE;
	uint8_t entry[16]; /* of partition 0, the hypervisor's own */
	struct err *e;

	if (regs_bytes(regs, PPC64_PRTB) || !at || !hypervisor_state(regs)) {
		*ret = prtb & PPC64_PRTB_GR ? prtb : 0;
		return NULL;
	}
	e = mem->read(mem->ctx, at, entry, sizeof(entry));
	if (e)
		return err_prefix(e, "partition table at gpa 0x%" PRIx64, at);
	*ret = 0;
	if (load_uint(entry, 8, ORDER_BIG) & PARTITION_HR)
		*ret = load_uint(entry + 8, 8, ORDER_BIG) | PPC64_PRTB_GR;
	return NULL;
}

/* A node that spans 2^span bytes; false when no such tree can be. */
static bool decode_node(uint64_t entry, unsigned span, struct node *ret)
{
	unsigned bits = entry & NODE_BITS;

	if (bits < NODE_BITS_MIN || bits > NODE_BITS_MAX || span < bits + PAGE_SHIFT_MIN)
		return false;
	*ret = (struct node){ .gpa = entry & NODE_BASE, .bits = bits, .shift = span - bits };
	return true;
}

static struct err *find_root(const struct phys_reader *mem, uint64_t prtb, uint64_t pid, struct node *ret)
{
	uint64_t n = 1ull << ((prtb & TABLE_SIZE) + 8); /* entries */
	uint64_t base = prtb & TABLE_BASE, at = base + 16 * pid, value;
	uint8_t entry[8];
	struct err *e;

	if (pid >= n)
		return err_new(ERR_UNMAPPED, "process %" PRIu64 " is outside of the process table at gpa 0x%" PRIx64,
			       pid, base);
	e = mem->read(mem->ctx, at, entry, sizeof(entry));
	if (e)
		return err_prefix(e, "process table entry at gpa 0x%" PRIx64, at);
	value = load_uint(entry, sizeof(entry), ORDER_BIG);
	if (!decode_node(value, 31 + (value >> 61 & 3) * 8 + (value >> 5 & 7), ret))
		return err_new(ERR_UNMAPPED, "process table entry at gpa 0x%" PRIx64 " describes no page tables", at);
	return NULL;
}

/* ret_next is set for ENTRY_TABLE; gpa and flags of m are for ENTRY_PAGE. */
static enum entry_kind decode(const struct node *node, uint64_t entry, struct node *ret_next, struct mapping *m)
{
	if (!(entry & ENTRY_VALID))
		return ENTRY_NONE;
	if (!(entry & ENTRY_LEAF))
		return decode_node(entry, node->shift, ret_next) ? ENTRY_TABLE : ENTRY_NONE;
	if (!(PAGE_SHIFTS >> node->shift & 1))
		return ENTRY_NONE;
	m->gpa = ALIGN_DOWN(entry & ENTRY_RPN, 1ull << node->shift);
	m->flags = (entry & ENTRY_WRITE ? MAPPING_WRITABLE : 0) | (entry & ENTRY_PRIVILEGED ? 0 : MAPPING_USER) |
		   (entry & ENTRY_EXECUTE ? MAPPING_EXECUTABLE : 0);
	return ENTRY_PAGE;
}

/* Looks gva up in *node; moves *node on where its entry refers to another one. */
static struct err *look_up(const struct phys_reader *mem, uint64_t gva, struct node *node, struct mapping *m,
			   enum entry_kind *ret)
{
	uint64_t index = gva >> node->shift & ((1ull << node->bits) - 1);
	uint64_t at = node->gpa + index * ENTRY_BYTES;
	uint8_t entry[ENTRY_BYTES];
	struct err *e = mem->read(mem->ctx, at, entry, sizeof(entry));

	if (e)
		return err_prefix(e, "page table entry at gpa 0x%" PRIx64 " for address 0x%" PRIx64, at, gva);
	m->bytes = 1ull << node->shift;
	*ret = decode(node, load_uint(entry, sizeof(entry), ORDER_BIG), node, m);
	if (*ret == ENTRY_NONE)
		return err_new(ERR_UNMAPPED, "address 0x%" PRIx64 " is not mapped: entry at gpa 0x%" PRIx64, gva, at);
	return NULL;
}

static struct err *find_pid(const struct regs *regs, uint64_t gva, uint64_t *ret)
{
	*ret = 0;
	switch (gva >> QUADRANT_SHIFT) {
	case QUADRANT_KERNEL:
		return NULL;
	case QUADRANT_USER:
		if (regs_get(regs, PPC64_PID, ret))
			return NULL;
		return err_new(ERR_UNKNOWN,
			       "page tables: pid of this vCPU is not known; 0x%" PRIx64
			       " and up can be read without it",
			       LINEAR.gva);
	default:
		return err_new(ERR_UNMAPPED, "address 0x%" PRIx64 " is in a quadrant that this vCPU does not use",
			       gva);
	}
}

static struct err *radix(const struct regs *regs, const struct phys_reader *mem, uint64_t prtb, uint64_t gva,
			 struct mapping *ret)
{
	enum entry_kind kind = ENTRY_TABLE;
	struct mapping m = { 0 };
	struct node node;
	uint64_t pid;
	struct err *e = find_pid(regs, gva, &pid);

	if (!e)
		e = find_root(mem, prtb, pid, &node);
	if (!e && (gva & EA_OFFSET) >> (node.shift + node.bits))
		e = err_new(ERR_UNMAPPED, "address 0x%" PRIx64 " is outside of the %u-bit address space", gva,
			    node.shift + node.bits);
	while (!e && kind == ENTRY_TABLE)
		e = look_up(mem, gva, &node, &m, &kind);
	if (e)
		return e;
	m.gva = ALIGN_DOWN(gva, m.bytes);
	*ret = m;
	return NULL;
}

struct err *ppc64_translate(const struct regs *regs, const struct phys_reader *mem, uint64_t gva,
			    struct mapping *ret)
{
	uint64_t prtb;
	struct err *e;

	if (!relocation_on(regs)) {
		*ret = real_mode(regs, gva);
		return NULL;
	}
	e = find_process_table(regs, mem, &prtb);
	if (e)
		return e;
	return prtb ? radix(regs, mem, prtb, gva, ret) : linear(gva, ret);
}

/* Everything that a node maps, from gva on. The deepest tree has 10 levels, level 1 being its root. */
static struct err *walk_node(struct walk *w, const struct node *node, unsigned level, uint64_t gva)
{
	size_t n = (size_t)1 << node->bits;
	uint8_t *entries = xmalloc(n * ENTRY_BYTES);
	bool have;
	struct err *e = walk_read_table(w, node->gpa, level, entries, n * ENTRY_BYTES, &have);

	for (size_t i = 0; !e && have && i < n; i++) {
		struct mapping m = { .gva = gva + ((uint64_t)i << node->shift), .bytes = 1ull << node->shift };
		struct node next;

		switch (decode(node, load_uint(entries + i * ENTRY_BYTES, ENTRY_BYTES, ORDER_BIG), &next, &m)) {
		case ENTRY_NONE:
			break;
		case ENTRY_PAGE:
			e = walk_map(w, &m);
			break;
		case ENTRY_TABLE:
			e = walk_node(w, &next, level + 1, m.gva);
			break;
		}
	}
	free(entries);
	return e;
}

/* As arch->walk has it: a table without memory is passed over. */
static struct err *pass_over(struct err *e)
{
	if (!e || (err_code(e) != ERR_UNMAPPED && err_code(e) != ERR_UNKNOWN))
		return e;
	err_destroy(e);
	return NULL;
}

static struct err *walk_quadrant(struct walk *w, uint64_t prtb, uint64_t pid, uint64_t quadrant)
{
	struct node root;
	struct err *e = find_root(w->mem, prtb, pid, &root);

	return e ? pass_over(e) : walk_node(w, &root, 1, quadrant << QUADRANT_SHIFT);
}

struct err *ppc64_walk(const struct regs *regs, const struct phys_reader *mem, mapping_fn fn, void *arg)
{
	uint64_t prtb, pid = regs_get_or(regs, PPC64_PID, 0);
	struct walk w;
	struct err *e;

	if (!relocation_on(regs))
		return NULL;
	e = find_process_table(regs, mem, &prtb);
	if (e)
		return pass_over(e);
	if (!prtb)
		return fn(arg, &LINEAR);
	walk_init(&w, mem, fn, arg);
	if (pid)
		e = walk_quadrant(&w, prtb, pid, QUADRANT_USER);
	if (!e)
		e = walk_quadrant(&w, prtb, 0, QUADRANT_KERNEL);
	if (!e)
		e = walk_finish(&w);
	walk_deinit(&w);
	return e;
}
