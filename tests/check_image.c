/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"
#include "base/alloc.h"
#include "guest/image.h"
#include "guest/os.h"
#include "tests/fake_guest.h"
#include "tests/suite.h"

#define VCPUS 4u
#define GIB (1ull << 30)
#define LINUX_PID_MAX 0x400000u /* PID_MAX_LIMIT of include/linux/threads.h */

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

static void fails_with(struct err *e, enum err_code code, const char *words)
{
	ck_assert_msg(e && err_code(e) == code && strstr(err_text(e), words), "%s", e ? err_text(e) : "it succeeds");
	err_destroy(e);
}

/* ---- an operating system that knows what a test says ---- */

struct toy_os {
	struct os os;
	struct os_ops ops;
	uint32_t pids[VCPUS]; /* 0: the idle task; UINT32_MAX: not known */
	unsigned destroyed;
};

static void toy_destroy(struct os *os)
{
	((struct toy_os *)os->priv)->destroyed++;
}

static bool toy_detect(struct os *os)
{
	(void)os;
	return true;
}

static struct err *toy_slide(struct os *os, uint64_t *ret)
{
	(void)os;
	*ret = 0x1e000000;
	return NULL;
}

/* A NUL inside, as a corrupt one may have. */
static const char info[] = "OSRELEASE=1\n\0PAGESIZE=4096\n";

static struct err *toy_vmcoreinfo(struct os *os, const char **ret, size_t *ret_bytes)
{
	(void)os;
	*ret = info;
	*ret_bytes = sizeof(info) - 1;
	return NULL;
}

static struct err *toy_kernel_map(struct os *os, struct mapping **ret, size_t *ret_n)
{
	(void)os;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->gva = 0xffff888000000000;
	*ret_n = 1;
	return NULL;
}

static struct err *toy_vcpu_pid(struct os *os, unsigned vcpu, uint32_t *ret)
{
	const struct toy_os *toy = os->priv;

	if (toy->pids[vcpu] == UINT32_MAX)
		return err_new(ERR_UNKNOWN, "not known");
	*ret = toy->pids[vcpu];
	return NULL;
}

static struct err *toy_symbol(struct os *os, const char *name, uint64_t *ret)
{
	(void)os;
	*ret = strlen(name);
	return NULL;
}

static struct err *toy_symbol_at(struct os *os, uint64_t gva, struct buf *ret_name, uint64_t *ret_offset)
{
	(void)os;
	buf_adds(ret_name, "start");
	*ret_offset = gva - 0x1000;
	return NULL;
}

static struct err *toy_describe(struct os *os, struct buf *out)
{
	(void)os;
	buf_adds(out, "Toy\n");
	return NULL;
}

static void toy_attach(struct toy_os *toy, struct guest *g)
{
	*toy = (struct toy_os){
		.ops = {
			.name = "toy",
			.destroy = toy_destroy,
			.detect = toy_detect,
			.slide = toy_slide,
			.vmcoreinfo = toy_vmcoreinfo,
			.kernel_map = toy_kernel_map,
			.vcpu_pid = toy_vcpu_pid,
			.symbol = toy_symbol,
			.symbol_at = toy_symbol_at,
			.describe = toy_describe,
		},
	};
	toy->os = (struct os){ &toy->ops, g, toy };
	g->os = &toy->os;
}

/* What nothing is known of: no system at all, or one that lacks the function. */
static void check_unknown(struct guest *g)
{
	struct buf out = { 0 };
	struct mapping *map;
	const char *text;
	uint64_t slide;
	uint32_t pid;
	size_t n;

	ck_assert(!os_detect(g));
	fails_with(os_slide(g, &slide), ERR_UNKNOWN, "slide");
	fails_with(os_vmcoreinfo(g, &text, &n), ERR_UNKNOWN, "VMCOREINFO");
	fails_with(os_kernel_map(g, &map, &n), ERR_UNKNOWN, "map");
	fails_with(os_vcpu_pid(g, 0, &pid), ERR_UNKNOWN, "task");
	fails_with(os_symbol(g, "x", &slide), ERR_UNKNOWN, "symbols");
	fails_with(os_symbol_at(g, 0, &out, &slide), ERR_UNKNOWN, "symbols");
	fails_with(os_describe(g, &out), ERR_UNKNOWN, "runs");
	ck_assert_uint_eq(out.len, 0);
}

START_TEST(os_may_know_nothing)
{
	struct guest *g = fake_guest_create(1);
	struct toy_os toy;

	check_unknown(g);
	toy_attach(&toy, g);
	toy.ops = (struct os_ops){ .name = "toy" };
	check_unknown(g);
	guest_destroy(g);
	ck_assert_uint_eq(toy.destroyed, 0);
}
END_TEST

START_TEST(os_is_asked)
{
	struct guest *g = fake_guest_create(VCPUS);
	struct buf out = { 0 };
	struct mapping *map;
	const char *text;
	struct toy_os toy;
	uint64_t slide, at;
	uint32_t pid;
	size_t n;

	toy_attach(&toy, g);
	toy.pids[2] = 7;
	ck_assert(os_detect(g));
	ok(os_slide(g, &slide));
	ck_assert_uint_eq(slide, 0x1e000000);
	ok(os_vmcoreinfo(g, &text, &n));
	ck_assert_ptr_eq(text, info);
	ok(os_kernel_map(g, &map, &n));
	ck_assert_uint_eq(n, 1);
	free(map);
	ok(os_vcpu_pid(g, 2, &pid));
	ck_assert_uint_eq(pid, 7);
	ok(os_symbol(g, "abc", &at));
	ck_assert_uint_eq(at, 3);
	ok(os_symbol_at(g, 0x1004, &out, &at));
	ck_assert_uint_eq(at, 4);
	ok(os_describe(g, &out));
	ck_assert_str_eq(buf_str(&out), "startToy\n");
	buf_deinit(&out);
	guest_destroy(g);
	ck_assert_uint_eq(toy.destroyed, 1);
}
END_TEST

/* ---- images ---- */

static struct guest_image *image_of(struct guest *g)
{
	struct guest_image *img;

	ok(guest_image_create(g, &img));
	return img;
}

/* It is of the moment it was taken; what happens to the guest after that is not in it. */
START_TEST(image_is_a_copy)
{
	struct guest *g = fake_guest_create(2);
	struct guest_image *img = image_of(g);
	const struct mem_block other = { .gpa = 0x1000, .bytes = 0x1000 };
	uint64_t rax = 5, taken = regs_get_or(img->vcpus[1], X86_RAX, 0);

	ck_assert_ptr_eq(img->arch, g->arch);
	ck_assert_int_eq(img->order, ORDER_LITTLE);
	ck_assert_uint_eq(img->n_vcpus, 2);
	ck_assert_uint_ne(taken, rax);
	ok(guest_write_reg(g, 1, X86_RAX, &rax));
	ck_assert_uint_eq(regs_get_or(img->vcpus[1], X86_RAX, 0), taken);
	ok(guest_set_blocks(g, &other, 1));
	ck_assert_uint_eq(img->n_blocks, 3);
	ck_assert_uint_eq(img->blocks[1].gpa, FAKE_RAM2_GPA);
	ck_assert_uint_eq(img->blocks[2].gpa, FAKE_ROM_GPA);
	ck_assert_uint_eq(img->blocks[2].flags, MEM_ROM);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

START_TEST(image_holds_its_guest)
{
	struct guest *g = fake_guest_create(1);
	struct guest_image *one = image_of(g), *two = image_of(g);

	fails_with(guest_resume(g), ERR_BUSY, "dump");
	guest_image_destroy(one);
	fails_with(guest_resume(g), ERR_BUSY, "dump");
	guest_image_destroy(two);
	guest_image_destroy(NULL);
	ok(guest_resume(g));
	ck_assert_uint_eq(fake_of(g)->resumes, 1);
	guest_destroy(g);
}
END_TEST

static struct err *refuse_second(struct guest *g, unsigned vcpu, struct regs *ret)
{
	regs_copy(ret, fake_of(g)->regs[vcpu]);
	return vcpu == 1 ? err_new(ERR_GONE, "it left") : NULL;
}

/* Nothing is held by an image that cannot be taken. */
START_TEST(image_that_cannot_be_taken)
{
	struct guest *g = fake_guest_create(2);
	struct guest_ops ops = *g->ops;
	struct guest_image *img = NULL;

	ops.read_regs = refuse_second;
	g->ops = &ops;
	fails_with(guest_image_create(g, &img), ERR_GONE, "vCPU 1");
	ck_assert_uint_eq(g->holds, 0);
	ok(guest_resume(g));
	fails_with(guest_image_create(g, &img), ERR_BUSY, "running");
	ck_assert_uint_eq(g->holds, 0);
	ck_assert_ptr_null(img);
	guest_destroy(g);
}
END_TEST

START_TEST(image_of_an_empty_guest)
{
	const struct mem_block block = { .gpa = 0, .bytes = 0x1000 };
	struct guest *no_memory = fake_create(&arch_x86_64, ORDER_LITTLE, 1, NULL, 0);
	struct guest *no_vcpu = fake_create(&arch_x86_64, ORDER_LITTLE, 0, &block, 1);
	struct guest_image *img = NULL;

	fails_with(guest_image_create(no_memory, &img), ERR_UNSUPPORTED, "no memory");
	fails_with(guest_image_create(no_vcpu, &img), ERR_UNSUPPORTED, "no vCPU");
	ck_assert_ptr_null(img);
	guest_destroy(no_memory);
	guest_destroy(no_vcpu);
}
END_TEST

#define MADE_UP 0x40000001u /* the first that an image makes up */

static const uint32_t pid_sets[][VCPUS] = {
	{ 1, 2, 3, 4 },
	{ 0, 0, 0, 0 },
	{ UINT32_MAX, 7, 0, LINUX_PID_MAX },
	{ 5, 5, 5, 6 },
	{ MADE_UP, MADE_UP, MADE_UP, MADE_UP },
	{ 0, MADE_UP, MADE_UP + 1, 0 },
	{ MADE_UP + 1, MADE_UP + 1, 0, UINT32_MAX },
	{ MADE_UP + 3, MADE_UP + 2, MADE_UP + 1, UINT32_MAX },
	{ 9, 0, 9, MADE_UP },
};

static bool is_first(const uint32_t *pids, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (pids[k] == pids[i])
			return false;
	return true;
}

/* Each vCPU has its own; those that a task can have are the tasks' own. */
static void check_pids(const struct guest_image *img, const uint32_t *said)
{
	for (unsigned i = 0; i < VCPUS; i++) {
		ck_assert_uint_ne(img->pids[i], 0);
		ck_assert(is_first(img->pids, i));
		if (said[i] && said[i] <= LINUX_PID_MAX && is_first(said, i))
			ck_assert_uint_eq(img->pids[i], said[i]);
		else
			ck_assert_uint_gt(img->pids[i], LINUX_PID_MAX);
	}
}

START_TEST(image_pids_are_unique)
{
	struct guest *g = fake_guest_create(VCPUS);
	struct guest_image *img;
	struct toy_os toy;

	toy_attach(&toy, g);
	memcpy(toy.pids, pid_sets[_i], sizeof(toy.pids));
	img = image_of(g);
	check_pids(img, pid_sets[_i]);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

static bool core_pid(struct guest *g, unsigned vcpu, uint32_t *ret)
{
	(void)g;
	if (vcpu == 1)
		return false;
	*ret = vcpu == 3 ? 0 : 100 + vcpu; /* QEMU leaves that of ppc64 at 0 */
	return true;
}

static const char *core_vmcoreinfo(struct guest *g, size_t *ret_bytes)
{
	(void)g;
	*ret_bytes = 3;
	return "A=B";
}

/* What the target itself says goes before what its system says. */
START_TEST(image_prefers_the_target)
{
	const uint32_t said[VCPUS] = { 100, 7, 102, 9 };
	struct guest *g = fake_guest_create(VCPUS);
	struct guest_ops ops = *g->ops;
	struct guest_image *img;
	struct toy_os toy;

	toy_attach(&toy, g);
	memcpy(toy.pids, (uint32_t[]){ 6, 7, 8, 9 }, sizeof(toy.pids));
	ops.vcpu_pid = core_pid;
	ops.vmcoreinfo = core_vmcoreinfo;
	g->ops = &ops;
	img = image_of(g);
	check_pids(img, said);
	ck_assert_uint_eq(img->vmcoreinfo_bytes, 3);
	ck_assert_mem_eq(img->vmcoreinfo, "A=B", 3);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

START_TEST(image_takes_what_is_known)
{
	struct guest *g = fake_guest_create(1);
	struct guest_image *img = image_of(g);
	struct toy_os toy;

	ck_assert_ptr_null(img->vmcoreinfo);
	ck_assert_ptr_null(img->kernel_map);
	ck_assert_uint_eq(img->n_kernel_map, 0);
	guest_image_destroy(img);
	toy_attach(&toy, g);
	img = image_of(g);
	ck_assert_uint_eq(img->vmcoreinfo_bytes, sizeof(info) - 1);
	ck_assert_mem_eq(img->vmcoreinfo, info, sizeof(info) - 1);
	ck_assert_uint_eq(img->n_kernel_map, 1);
	ck_assert_uint_eq(img->kernel_map->gva, 0xffff888000000000);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

START_TEST(image_reads_all_or_fails)
{
	struct guest *g = fake_guest_create(1);
	struct guest_image *img = image_of(g);
	uint8_t got[4];
	uint64_t gpa, bytes;

	ok(guest_image_read(img, FAKE_RAM_BYTES - 4, got, 4));
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(got[i], fake_guest_byte(FAKE_RAM_BYTES - 4 + i));
	fails_with(guest_image_read(img, FAKE_RAM_BYTES - 3, got, 4), ERR_UNMAPPED, "0x10000");
	ok(guest_image_next_data(img, FAKE_RAM_BYTES, FAKE_RAM2_GPA + 5, &gpa, &bytes));
	ck_assert_uint_eq(gpa, FAKE_RAM2_GPA);
	ck_assert_uint_eq(bytes, 5);
	fake_of(g)->fail_reads = true;
	fails_with(guest_image_read(img, 0x5000, got, 4), ERR_GONE, "exited");
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

struct walked {
	struct mapping maps[8];
	size_t n, stop_at;
};

static struct err *add_mapping(void *arg, const struct mapping *m)
{
	struct walked *w = arg;

	ck_assert_uint_lt(w->n, ARRAY_LEN(w->maps));
	w->maps[w->n++] = *m;
	return w->n == w->stop_at ? err_new(ERR_CANCELLED, "enough") : NULL;
}

/* vCPUs 0 and 2 have the shared tables, vCPU 1 has paging off and adds nothing. */
START_TEST(image_walks_every_vcpu)
{
	static const struct mapping want[] = {
		{ 0, 0, GIB, 0 }, { 3 * GIB, 3 * GIB, GIB, 0 }, { FAKE_GVA, FAKE_GVA_GPA, 0x1000, 0 },
	};
	struct guest *g = fake_guest_create(3);
	struct guest_image *img;
	struct walked all = { 0 }, some = { .stop_at = 2 };

	regs_copy(fake_of(g)->regs[2], fake_of(g)->regs[0]);
	img = image_of(g);
	ok(guest_image_walk(img, add_mapping, &all));
	ck_assert_uint_eq(all.n, 2 * ARRAY_LEN(want));
	for (size_t i = 0; i < all.n; i++) {
		ck_assert_uint_eq(all.maps[i].gva, want[i % 3].gva);
		ck_assert_uint_eq(all.maps[i].gpa, want[i % 3].gpa);
		ck_assert_uint_eq(all.maps[i].bytes, want[i % 3].bytes);
	}
	fails_with(guest_image_walk(img, add_mapping, &some), ERR_CANCELLED, "enough");
	ck_assert_uint_eq(some.n, 2);
	guest_image_destroy(img);
	guest_destroy(g);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image");
	TCase *tc = tcase_create("image");

	tcase_add_test(tc, os_may_know_nothing);
	tcase_add_test(tc, os_is_asked);
	tcase_add_test(tc, image_is_a_copy);
	tcase_add_test(tc, image_holds_its_guest);
	tcase_add_test(tc, image_that_cannot_be_taken);
	tcase_add_test(tc, image_of_an_empty_guest);
	tcase_add_loop_test(tc, image_pids_are_unique, 0, ARRAY_LEN(pid_sets));
	tcase_add_test(tc, image_prefers_the_target);
	tcase_add_test(tc, image_takes_what_is_known);
	tcase_add_test(tc, image_reads_all_or_fails);
	tcase_add_test(tc, image_walks_every_vcpu);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
