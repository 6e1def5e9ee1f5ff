/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The monitor's commands on a fake guest, and docs/monitor.md against their table. */
#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cursor.h"
#include "guest/os.h"
#include "server/expr.h"
#include "server/monitor.h"
#include "tests/fake_guest.h"
#include "tests/suite.h"
#include "tests/text_file.h"

#define RAX 0x1122334455667788u

static struct {
	struct guest *guest;
	struct hold hold;
	struct loop *loop;
	struct inherited inherited;
	struct monitor *monitor;
	struct buf output;
	struct err *error;
	unsigned done, left;
	char *dump_line; /* of a background dump that has ended */
	bool dump_failed;
	bool is_gdb;
	char dir[32];
} f;

static void on_output(void *arg, const char *text, size_t bytes)
{
	(void)arg;
	buf_add(&f.output, text, bytes);
}

static void on_done(void *arg, struct err *e)
{
	(void)arg;
	f.error = e;
	f.done++;
	loop_quit(f.loop);
}

static void on_leave(void *arg)
{
	(void)arg;
	f.left++;
}

static void on_dump_ended(void *arg, const char *line, bool failed)
{
	(void)arg;
	free(f.dump_line);
	f.dump_line = xstrdup(line);
	f.dump_failed = failed;
	loop_quit(f.loop);
}

static void set_up(void)
{
	struct monitor_config config = { .hold = &f.hold, .inherited = &f.inherited, .dump_ended = on_dump_ended };

	f.guest = fake_guest_create(2);
	f.guest->state = GUEST_RUNNING;
	regs_set(fake_of(f.guest)->regs[0], (unsigned)arch_reg_by_name(f.guest->arch, "rax"), RAX);
	hold_init(&f.hold, f.guest);
	f.loop = config.loop = loop_create();
	f.monitor = monitor_create(&config);
	strcpy(f.dir, "/tmp/check_monitor.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f.dir));
	ck_assert_int_eq(chdir(f.dir), 0);
}

static void tear_down(void)
{
	monitor_destroy(f.monitor);
	loop_destroy(f.loop);
	guest_destroy(f.guest);
	inherited_deinit(&f.inherited);
	buf_deinit(&f.output);
	err_destroy(f.error);
	free(f.dump_line);
	ck_assert_int_eq(chdir("/"), 0);
	/* Nothing is left behind but what the test has removed. */
	ck_assert_int_eq(rmdir(f.dir), 0);
}

/* Runs a command to its end; its output is in f.output and its error in f.error. */
static void run(const char *line)
{
	struct monitor_client client = { .output = on_output, .done = on_done,
					 .leave = f.is_gdb ? NULL : on_leave };

	buf_reset(&f.output);
	err_destroy(f.error);
	f.error = NULL;
	f.done = 0;
	monitor_run(f.monitor, &client, line);
	if (!f.done)
		ck_assert(monitor_busy(f.monitor));
	loop_run(f.loop);
	ck_assert_uint_eq(f.done, 1);
}

static void expect(const char *line, const char *output)
{
	run(line);
	ck_assert_msg(!f.error, "%s: %s", line, f.error ? err_text(f.error) : "");
	ck_assert_msg(!strcmp(buf_str(&f.output), output), "%s: printed\n%s\nnot\n%s", line, buf_str(&f.output),
		      output);
}

/* error: a part of its text. */
static void expect_error(const char *line, const char *error)
{
	run(line);
	ck_assert_msg(f.error != NULL, "%s: no error", line);
	ck_assert_msg(strstr(err_text(f.error), error) != NULL, "%s: %s", line, err_text(f.error));
}

/* ---- x and xp ---- */

static const uint8_t bytes16[] = { 0x41, 0x0a, 0xff, 0x80, 0x01, 0x00, 0x00, 0x80,
				   0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x81 };

#define AT "0000000000020000:"

static const struct {
	const char *command, *output;
} examined[] = {
	{ "xp 0x20000", AT " 0x80ff0a41\n" },
	{ "xp /x 0x20000", AT " 0x80ff0a41\n" },
	{ "xp/x 0x20000", AT " 0x80ff0a41\n" },
	{ "  xp\t/1wx  131072 ", AT " 0x80ff0a41\n" },
	{ "xp /2bx 0x20000", AT " 0x41 0x0a\n" },
	{ "xp /9bx 0x20000", AT " 0x41 0x0a 0xff 0x80 0x01 0x00 0x00 0x80\n0000000000020008: 0xef\n" },
	{ "xp /2hx 0x20000", AT " 0x0a41 0x80ff\n" },
	{ "xp /2gx 0x20000", AT " 0x8000000180ff0a41 0x8123456789abcdef\n" },
	{ "xp /a 0x20000", AT " 0x8000000180ff0a41\n" },
	{ "xp /dw 0x20000", AT " -2130769343\n" },
	{ "xp /db 0x20002", "0000000000020002:  -1\n" },
	{ "xp /dg 0x20008", "0000000000020008: -9141386507638288913\n" },
	{ "xp /uw 0x20000", AT " 2164197953\n" },
	{ "xp /ub 0x20002", "0000000000020002: 255\n" },
	{ "xp /ow 0x20000", AT " 020077605101\n" },
	{ "xp /tb 0x20000", AT " 01000001\n" },
	{ "xp /th 0x20000", AT " 0000101001000001\n" },
	{ "xp /4c 0x20000", AT " 'A' '\\n' '\\xff' '\\x80'\n" },
	{ "xp /s 0x20000", "0000000000020000: \"A\\n\\xff\\x80\\x01\"\n" },
	{ "xp /2s 0x20004", "0000000000020004: \"\\x01\"\n0000000000020006: \"\"\n" },
	{ "xp /0x 0x20000", "" },
	{ "xp /x 0x20000 + 8-4", "0000000000020004: 0x80000001\n" },
};

START_TEST(test_examine)
{
	memcpy(fake_at(f.guest, FAKE_RAM2_GPA), bytes16, sizeof(bytes16));
	expect(examined[_i].command, examined[_i].output);
}
END_TEST

START_TEST(test_examine_virtual)
{
	struct buf want = { 0 };

	buf_addf(&want, "%016" PRIx64 ":", (uint64_t)FAKE_GVA + 0x10);
	for (unsigned i = 0; i < 8; i++)
		buf_addf(&want, " 0x%02x", fake_guest_byte(FAKE_GVA_GPA + 0x10 + i));
	buf_addch(&want, '\n');
	expect("x /8bx 0xffffffff81000010", buf_str(&want));
	buf_deinit(&want);
}
END_TEST

START_TEST(test_examine_prefix)
{
	memcpy(fake_at(f.guest, FAKE_RAM2_GPA + 0xff8), bytes16, 8);
	expect_error("xp /3wx 0x20ff8", "0x21000");
	ck_assert_str_eq(buf_str(&f.output), "0000000000020ff8: 0x80ff0a41 0x80000001\n");
	expect_error("xp /x 0x20ffe", "0x21000");
	ck_assert_str_eq(buf_str(&f.output), "");
}
END_TEST

/* ---- errors ---- */

static const struct {
	const char *command, *error;
} refused[] = {
	{ "bogus", "unknown command 'bogus'" },
	{ "xx 0", "unknown command 'xx'" },
	{ "infox", "unknown command" },
	{ "info bogus", "info: unknown command 'bogus'" },
	{ "help bogus", "unknown command 'bogus'" },
	{ "version 1", "unexpected '1'" },
	{ "x", "usage: x [/FMT] ADDR" },
	{ "x /4xg", "usage: x" },
	{ "x 0x20000 1", "unexpected '1'" },
	{ "x /i 0", "gdb" },
	{ "x /4z 0", "unknown letter" },
	{ "x /18446744073709551616x 0", "too large" },
	{ "x /1048577xb 0", "memsave" },
	{ "x /262145x 0", "memsave" },
	{ "x /sw 0", "strings are of bytes" },
	{ "x zero", "neither a number" },
	{ "x 0x", "neither a number" },
	{ "x 0x1ffffffffffffffff", "neither a number" },
	{ "x 0x10+", "missing" },
	{ "x $nothing", "no such register" },
	{ "x $orig_rax", "not known" },
	{ "xp 0x10000", "0x10000" },
	{ "gva2gpa", "usage: gva2gpa ADDR" },
	{ "gva2gpa 0xffffffff81001000", "" },
	{ "gpa2hva 0x10000", "0x10000" },
	{ "cpu", "usage: cpu VCPU" },
	{ "cpu 2", "no such vCPU; the guest has 2" },
	{ "info registers -v 2", "no such vCPU" },
	{ "info registers rax", "unexpected 'rax'" },
	{ "dump-guest-memory", "usage: dump-guest-memory" },
	{ "dump-guest-memory -z file 0x1000 0x1000", "kdump" },
	{ "dump-guest-memory -pl file", "kdump" },
	{ "dump-guest-memory -z file.gz", "kdump" },
	{ "dump-guest-memory --nosuch file", "unknown option --nosuch" },
	{ "dump-guest-memory --json file", "unknown option --json" },
	{ "dump-guest-memory --begin 0 file", "unknown option --begin" },
	{ "dump-guest-memory --format", "--format needs a value" },
	{ "dump-guest-memory --format=x file", "--format" },
	{ "dump-guest-memory --flatten=1 file", "--flatten takes no value" },
	{ "dump-guest-memory --flatten file", "flattened" },
	{ "dump-guest-memory --exclude=user,x file", "'user,x'" },
	{ "dump-guest-memory --dump-level 32 file", "from 0 to 31" },
	{ "dump-guest-memory --bandwidth 1P file", "--bandwidth" },
	{ "dump-guest-memory --bandwidth=99999999999T file", "--bandwidth" },
	{ "dump-guest-memory --timeout 0 file", "--timeout" },
	{ "dump-guest-memory -w file", "-w: " },
	{ "dump-guest-memory -pq file", "unknown option -q" },
	{ "dump-guest-memory -", "standard output" },
	{ "dump-guest-memory file:", "empty" },
	{ "dump-guest-memory \"file", "quotes" },
	{ "dump-guest-memory fd:x", "number of a descriptor" },
	{ "dump-guest-memory fd:99", "no descriptor 99 was handed over" },
	{ "dump-guest-memory file 0x1000", "length" },
	{ "dump-guest-memory file 0x1000 0", "zero" },
	{ "dump-guest-memory file 0x1000 0xffffffffffffffff", "" },
	{ "dump-guest-memory file 0x10000 0x1000", "" },
	{ "dump-guest-memory file 0x1000 0x1000 x", "unexpected 'x'" },
	{ "dump-guest-memory no/such/dir", "no/such/dir" },
	{ "dump-cancel", "no dump" },
	{ "pmemsave 0 1", "usage: pmemsave ADDR SIZE FILE" },
	{ "pmemsave 0 0 file", "the size is 0" },
	{ "pmemsave 0 0x10001 file", "0x10000" },
	{ "pmemsave 0xfffff000 0xffffffff00001000 file", "0x100000000" },
	{ "pmemsave 0xfffff000 0xffffffff00001001 file", "end of the address space" },
	{ "pmemsave 0 1 file x", "unexpected 'x'" },
	{ "memsave 0xffffffff81000ff0 0x11 file", "file" },
};

START_TEST(test_refused)
{
	expect_error(refused[_i].command, refused[_i].error);
	ck_assert_uint_eq(f.hold.holders, 0);
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
}
END_TEST

/* ---- info ---- */

START_TEST(test_version)
{
	run("info version");
	ck_assert_int_eq(strncmp(buf_str(&f.output), VMGDBSERVER_VERSION " ", strlen(VMGDBSERVER_VERSION) + 1), 0);
	expect("", "");
	expect("  \n", "");
}
END_TEST

/* True when "name=digits" stands in the output, with white space behind it. */
static bool printed(const char *name, const char *digits)
{
	struct buf want = { 0 };
	const char *at;
	bool found;

	buf_addf(&want, " %s=%s", name, digits);
	at = strstr(buf_str(&f.output), want.data);
	found = at && strchr(" \n", at[want.len]);
	buf_deinit(&want);
	return found;
}

static bool is_for_paging(const char *name)
{
	return !strcmp(name, "cr0") || !strcmp(name, "cr3") || !strcmp(name, "cr4") || !strcmp(name, "efer");
}

/* The fake guest's registers hold a formula of number and byte. */
START_TEST(test_registers)
{
	const struct arch *arch = f.guest->arch;
	const struct regs *regs = fake_of(f.guest)->regs[1];

	run("info registers -v 1");
	ck_assert_ptr_null(f.error);
	ck_assert(printed("orig_rax", "-"));
	for (unsigned r = 0; r < arch->n_regs; r++) {
		char digits[2 * ARCH_MAX_REG_BYTES + 1];
		size_t n = reg_bytes(arch, r);

		if (is_for_paging(arch->regs[r].name) || !strcmp(arch->regs[r].name, "orig_rax") ||
		    !arch_has_feature(regs, arch->regs[r].feature))
			continue;
		for (size_t i = 0; i < n; i++)
			snprintf(digits + 2 * i, 3, "%02x", fake_guest_reg_byte(1, r, n - 1 - i));
		ck_assert_msg(printed(arch->regs[r].name, digits), "%s=%s", arch->regs[r].name, digits);
	}
}
END_TEST

START_TEST(test_registers_selection)
{
	run("info registers");
	ck_assert_int_eq(strncmp(buf_str(&f.output), "CPU#0\n", 6), 0);
	ck_assert_ptr_null(strstr(buf_str(&f.output), "CPU#1\n"));
	ck_assert(printed("rax", "1122334455667788"));
	run("info registers -a");
	ck_assert_ptr_nonnull(strstr(buf_str(&f.output), "CPU#0\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&f.output), "CPU#1\n"));
	expect("cpu 1", "");
	run("info registers");
	ck_assert_int_eq(strncmp(buf_str(&f.output), "CPU#1\n", 6), 0);
	monitor_reset(f.monitor);
	run("info registers");
	ck_assert_int_eq(strncmp(buf_str(&f.output), "CPU#0\n", 6), 0);
}
END_TEST

START_TEST(test_cpus)
{
	unsigned rip = f.guest->arch->pc;
	struct buf want = { 0 };

	for (unsigned v = 0; v < 2; v++) {
		uint64_t value = 0;

		for (size_t i = 8; i-- > 0;)
			value = value << 8 | fake_guest_reg_byte(v, rip, i);
		buf_addf(&want, "%c CPU #%u: rip=0x%016" PRIx64 " fake %u\n", v ? ' ' : '*', v, value, v);
	}
	expect("info cpus", buf_str(&want));
	buf_deinit(&want);
}
END_TEST

/* What the comment of tests/fake_guest.h says. */
START_TEST(test_maps)
{
	struct buf want = { 0 };

	expect("info mem", "0000000000000000-0000000040000000 0000000040000000 -rwx\n"
			   "00000000c0000000-0000000100000000 0000000040000000 -rwx\n"
			   "ffffffff81000000-ffffffff81001000 0000000000001000 -rwx\n");
	buf_addf(&want, "0000000000000000-000000000000ffff ram hva 0x%" PRIx64 "\n", f.guest->blocks[0].hva);
	buf_addf(&want, "0000000000020000-0000000000020fff ram hva 0x%" PRIx64 "\n", f.guest->blocks[1].hva);
	buf_addf(&want, "00000000fffff000-00000000ffffffff rom hva 0x%" PRIx64 "\n", f.guest->blocks[2].hva);
	expect("info mtree", buf_str(&want));
	buf_reset(&want);
	buf_addf(&want, "Host virtual address for 0x20010 is 0x%" PRIx64 "\n", f.guest->blocks[1].hva + 0x10);
	expect("gpa2hva 0x20010", buf_str(&want));
	buf_deinit(&want);
	expect("gva2gpa 0xffffffff81000123", "gpa: 0x5123\n");
	expect("cpu 1", "");
	expect("info mem", "paging is off\n");
	expect("gva2gpa 0x123456", "gpa: 0x123456\n");
}
END_TEST

/* ---- the operating system ---- */

#define TOY_SLIDE 0x2d000000ull
#define TOY_START 0xffffffff81000000ull

static uint64_t toy_moved;

static struct err *toy_slide(struct os *os, uint64_t *ret)
{
	(void)os;
	*ret = toy_moved;
	return NULL;
}

static struct err *toy_symbol(struct os *os, const char *name, uint64_t *ret)
{
	(void)os;
	if (strcmp(name, "_stext"))
		return err_new(ERR_UNKNOWN, "no symbol %s", name);
	*ret = TOY_START + toy_moved;
	return NULL;
}

static struct err *toy_symbol_at(struct os *os, uint64_t gva, struct buf *ret_name, uint64_t *ret_offset)
{
	(void)os;
	if (gva < TOY_START)
		return err_new(ERR_UNKNOWN, "no symbol there");
	buf_adds(ret_name, "_stext");
	*ret_offset = gva - TOY_START;
	return NULL;
}

static struct err *toy_describe(struct os *os, struct buf *out)
{
	(void)os;
	buf_adds(out, "Release: toy\n");
	return NULL;
}

static void toy_destroy(struct os *os)
{
	(void)os;
}

START_TEST(test_system)
{
	static const struct os_ops ops = {
		.name = "toy",
		.destroy = toy_destroy,
		.slide = toy_slide,
		.symbol = toy_symbol,
		.symbol_at = toy_symbol_at,
		.describe = toy_describe,
	};
	struct os toy = { .ops = &ops, .guest = f.guest };

	expect_error("info linux", "no operating system was recognised");
	expect_error("info kaslr", "no operating system was recognised");
	expect_error("x _stext", "no operating system was recognised");
	f.guest->os = &toy;
	expect("info linux", "Release: toy\n");
	expect("info kaslr", "_stext: 0xffffffff81000000\nLinked at: 0xffffffff81000000\nSlide: 0x0\n");
	expect("info symbol 0xffffffff81000000", "_stext\n");
	expect("info symbol _stext + 0x21", "_stext + 33\n");
	expect_error("info symbol 0x1000", "no symbol there");
	expect_error("info symbol", "usage");
	expect_error("info symbol 1 2", "usage");
	expect("gva2gpa 8+_stext-4", "gpa: 0x5004\n");
	expect("print _stext + 0x21", "0xffffffff81000021\n");
	expect("p 010 - 8", "0x0\n");
	expect_error("print", "usage");
	expect_error("print 1 2", "usage");
	expect_error("gva2gpa panic", "as a symbol: no symbol panic");
	toy_moved = TOY_SLIDE;
	expect("info kaslr", "_stext: 0xffffffffae000000\nLinked at: 0xffffffff81000000\nSlide: 0x2d000000\n"
			     "In gdb: symbol-file -o 0x2d000000 vmlinux\n");
	f.guest->os = NULL;
}
END_TEST

/* ---- run state ---- */

START_TEST(test_run_state)
{
	struct fake *fake = fake_of(f.guest);

	run("info status");
	ck_assert_int_eq(strncmp(buf_str(&f.output), "VM status: running\n", 19), 0);
	expect("stop", "");
	ck_assert_int_eq(f.guest->state, GUEST_STOPPED);
	expect("stop", "");
	ck_assert_uint_eq(fake->stops, 1);
	run("info status");
	ck_assert_int_eq(strncmp(buf_str(&f.output), "VM status: paused\n", 18), 0);
	run("xp 0");
	ck_assert_int_eq(f.guest->state, GUEST_STOPPED);
	expect("c", "");
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
	expect("cont", "");
	ck_assert_uint_eq(fake->resumes, 1);
	/* A look at a running guest pauses it for the moment. */
	run("xp 0");
	ck_assert_uint_eq(fake->stops, 2);
	ck_assert_uint_eq(fake->resumes, 2);
	run("info version");
	ck_assert_uint_eq(fake->stops, 2);
}
END_TEST

START_TEST(test_gdb)
{
	f.is_gdb = true;
	expect("stop", "");
	expect_error("cont", "continue");
	expect_error("exit", "detach");
	expect_error("quit", "detach");
	f.is_gdb = false;
	expect("quit", "");
	ck_assert_uint_eq(f.left, 1);
}
END_TEST

/* ---- files ---- */

static size_t read_file(const char *name, uint8_t *ret, size_t bytes)
{
	int fd = open(name, O_RDONLY);
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	n = read(fd, ret, bytes);
	ck_assert_int_ge(n, 0);
	close(fd);
	return (size_t)n;
}

/* And takes it away. */
static void expect_saved(const char *name, uint64_t gpa, size_t bytes)
{
	uint8_t *got = xmalloc(bytes + 1);
	struct stat st;

	ck_assert_int_eq(stat(name, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(read_file(name, got, bytes + 1), bytes);
	for (size_t i = 0; i < bytes; i++)
		ck_assert_uint_eq(got[i], fake_guest_byte(gpa + i));
	free(got);
	ck_assert_int_eq(unlink(name), 0);
}

START_TEST(test_save)
{
	run("pmemsave 0x7000 0x9000 saved");
	ck_assert_ptr_null(f.error);
	ck_assert_int_eq(strncmp(buf_str(&f.output), "saved: 36864 bytes in ", 22), 0);
	expect_saved("saved", 0x7000, 0x9000);
	run("memsave 0xffffffff81000000 0x1000 file:saved");
	expect_saved("saved", FAKE_GVA_GPA, 0x1000);
	run("memsave 0xffffffff81000000+8 16 \"two words\"");
	expect_saved("two words", FAKE_GVA_GPA + 8, 16);
	ck_assert_uint_eq(f.hold.holders, 0);
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
}
END_TEST

/* A dump's content is a matter of check_dump and check_kdump; here it is one, of that format. */
static void expect_dump(const char *name, const char *magic)
{
	uint8_t head[8];

	ck_assert_uint_eq(read_file(name, head, sizeof(head)), sizeof(head));
	ck_assert_mem_eq(head, magic, strlen(magic));
	ck_assert_int_eq(unlink(name), 0);
}

static void expect_core(const char *name)
{
	expect_dump(name, "\177ELF");
}

static const struct {
	const char *command, *magic;
} dumps[] = {
	{ "dump-guest-memory core", "\177ELF" },
	{ "dump-guest-memory file:core", "\177ELF" },
	{ "dump-guest-memory -p core", "\177ELF" },
	{ "dump-guest-memory core 0x20000 0x1000", "\177ELF" },
	{ "dump-guest-memory -p core 0 1", "\177ELF" },
	{ "dump-guest-memory \"core\" $rax-0x1122334455667788 0x1000", "\177ELF" },
	{ "dump-guest-memory --paging --bandwidth 1G --timeout=60 core", "\177ELF" },
	{ "dump-guest-memory -z core", "KDUMP   " },
	{ "dump-guest-memory -zR core", "KDUMP   " },
	{ "dump-guest-memory --format kdump-zstd core", "KDUMP   " },
	{ "dump-guest-memory --format=kdump-zlib --flatten core", "makedump" },
};

START_TEST(test_dump)
{
	expect("info dump", "Status: none\n");
	run(dumps[_i].command);
	ck_assert_msg(!f.error, "%s", f.error ? err_text(f.error) : "");
	ck_assert_ptr_nonnull(strstr(buf_str(&f.output), "core: "));
	expect_dump("core", dumps[_i].magic);
	ck_assert_uint_eq(f.hold.holders, 0);
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
	run("info dump");
	ck_assert_int_eq(strncmp(buf_str(&f.output), "Status: completed\nFinished: 100.00 %\n", 37), 0);
}
END_TEST

START_TEST(test_background)
{
	expect("dump-guest-memory -d core", "");
	ck_assert(monitor_dumping(f.monitor));
	ck_assert_int_eq(f.guest->state, GUEST_STOPPED);
	expect_error("dump-guest-memory other", "dump-cancel");
	expect_error("cont", "dump");
	while (monitor_dumping(f.monitor))
		loop_run(f.loop);
	ck_assert(!f.dump_failed);
	ck_assert_int_eq(strncmp(f.dump_line, "core: ", 6), 0);
	expect_core("core");
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
}
END_TEST

/* A pipe that nobody empties holds a dump up. */
static int stuck_pipe(int ret_fds[2])
{
	ck_assert_int_eq(pipe(ret_fds), 0);
	inherited_record(&f.inherited);
	return ret_fds[1];
}

START_TEST(test_cancel_background)
{
	char command[64];
	int fds[2];

	snprintf(command, sizeof(command), "dump-guest-memory -d fd:%d", stuck_pipe(fds));
	expect(command, "");
	run("info dump");
	ck_assert_int_eq(strncmp(buf_str(&f.output), "Status: active\n", 15), 0);
	expect("dump-cancel", "");
	ck_assert_ptr_nonnull(strstr(f.dump_line, "cancelled"));
	ck_assert(!f.dump_failed);
	run("info dump");
	ck_assert_int_eq(strncmp(buf_str(&f.output), "Status: cancelled\n", 18), 0);
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static void on_timer(void *arg)
{
	(void)arg;
	monitor_cancel(f.monitor);
}

START_TEST(test_cancel_foreground)
{
	struct loop_source *timer = loop_add_timer(f.loop, 50, on_timer, NULL);
	char command[64];
	int fds[2];

	snprintf(command, sizeof(command), _i ? "pmemsave 0 0x10000 fd:%d" : "dump-guest-memory fd:%d",
		 stuck_pipe(fds));
	/* One byte more than a pipe of 64 KiB takes. */
	ck_assert_int_eq(write(fds[1], "", 1), 1);
	expect_error(command, "cancelled");
	ck_assert_int_eq(err_code(f.error), ERR_CANCELLED);
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
	loop_remove(timer);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(test_closed_pipe)
{
	char command[64];
	int fds[2];

	snprintf(command, sizeof(command), "dump-guest-memory fd:%d", stuck_pipe(fds));
	close(fds[0]);
	expect_error(command, "pipe");
	ck_assert_int_eq(f.guest->state, GUEST_RUNNING);
	close(fds[1]);
}
END_TEST

START_TEST(test_gone_while_dumping)
{
	fake_of(f.guest)->fail_reads = true;
	expect_error(_i ? "pmemsave 0 16 core" : "dump-guest-memory core", "exited");
	ck_assert_uint_eq(f.hold.holders, 0);
}
END_TEST

/* ---- words ---- */

static const struct {
	const char *text;
	bool ok;
	uint64_t value;
	const char *rest;
} expressions[] = {
	{ "0", true, 0, "" },
	{ "18446744073709551615", true, UINT64_MAX, "" },
	{ "0xffffffffffffffff", true, UINT64_MAX, "" },
	{ "010", true, 8, "" },
	{ " 1 2", true, 1, " 2" },
	{ "1+2", true, 3, "" },
	{ "1 + 2 3", true, 3, " 3" },
	{ "1 -2", true, UINT64_MAX, "" },
	{ "10 - 2 - 3", true, 5, "" },
	{ "0xffffffffffffffff+2", true, 1, "" },
	{ "$rax", true, RAX, "" },
	{ "$rax+0x10", true, RAX + 0x10, "" },
	{ "0x10 + $rax-8 file", true, RAX + 8, " file" },
	{ "", false, 0, NULL },
	{ "+1", false, 0, NULL },
	{ "-1", false, 0, NULL },
	{ "1+", false, 0, NULL },
	{ "1x", false, 0, NULL },
	{ "0x", false, 0, NULL },
	{ "08", false, 0, NULL },
	{ "18446744073709551616", false, 0, NULL },
	{ "rax", false, 0, NULL },
	{ "$", false, 0, NULL },
	{ "$RAX", false, 0, NULL },
	{ "$orig_rax", false, 0, NULL },
};

START_TEST(test_expression)
{
	struct cursor c = cursor_of_string(expressions[_i].text);
	uint64_t value = 0;
	struct err *e = guest_stop(f.guest);

	ck_assert_ptr_null(e);
	e = expr_take(&c, f.guest, 0, &value);
	ck_assert_int_eq(!e, expressions[_i].ok);
	if (!e) {
		ck_assert_uint_eq(value, expressions[_i].value);
		ck_assert(cursor_equals(&c, expressions[_i].rest));
	}
	err_destroy(e);
}
END_TEST

START_TEST(test_aliases)
{
	static const char *const names[][2] = { { "$pc", "$rip" }, { "$sp", "$rsp" }, { "$fp", "$rbp" } };
	uint64_t a = 0, b = 1;
	struct cursor c = cursor_of_string(names[_i][0]), d = cursor_of_string(names[_i][1]);
	struct err *e = guest_stop(f.guest);

	if (!e)
		e = expr_take(&c, f.guest, 0, &a);
	if (!e)
		e = expr_take(&d, f.guest, 0, &b);
	ck_assert_ptr_null(e);
	ck_assert_uint_eq(a, b);
}
END_TEST

static const struct {
	const char *before, *word, *words; /* separated by blanks */
	bool files;
} completions[] = {
	{ "", "inf", "info", false },
	{ "", "dump-", "dump-guest-memory dump-cancel", false },
	{ "info ", "m", "mem mtree", false },
	{ "info  ", "re", "registers", false },
	{ "help ", "gva", "gva2gpa", false },
	{ "help info ", "cp", "cpus", false },
	{ "x ", "$ra", "$rax", false },
	{ "x /4xg ", "$cr", "$cr0 $cr2 $cr3 $cr4 $cr8", false },
	{ "", "$ra", "", false },
	{ "", "nothing", "", false },
	{ "dump-guest-memory ", "/tm", "", true },
	{ "dump-guest-memory -d ", "", "", true },
	{ "pmemsave 0 16 ", "a", "", true },
	{ "cpu ", "a", "", false },
};

START_TEST(test_completion)
{
	struct buf got = { 0 };
	bool files = false;
	char **words;
	size_t n = monitor_complete(f.monitor, completions[_i].before, completions[_i].word, &words, &files);

	for (size_t i = 0; i < n; i++) {
		buf_addf(&got, "%s%s", i ? " " : "", words[i]);
		free(words[i]);
	}
	free(words);
	ck_assert_str_eq(buf_str(&got), completions[_i].words);
	ck_assert_int_eq(files, completions[_i].files);
	buf_deinit(&got);
}
END_TEST

/* ---- the manual ---- */

/* A | ends a table's cell. */
static void add_escaped(struct buf *out, const char *text)
{
	for (; *text; text++)
		buf_addf(out, *text == '|' ? "\\%c" : "%c", *text);
}

static void add_row(struct buf *out, const struct monitor_command *c)
{
	buf_addf(out, "| `%s%s", c->name, *c->args ? " " : "");
	add_escaped(out, c->args);
	buf_addf(out, c->alias ? "` | `%s` | " : "` | %s | ", c->alias ? c->alias : "");
	add_escaped(out, c->help);
	buf_adds(out, " |\n");
}

START_TEST(test_manual)
{
	static const char head[] = "| command | short | what it does |\n| --- | --- | --- |\n";
	size_t n;
	const struct monitor_command *commands = monitor_commands(&n);
	char *text = text_file_read("docs/monitor.md");
	const char *at = strstr(text, head);
	struct buf want = { 0 };

	for (size_t i = 0; i < n; i++)
		add_row(&want, &commands[i]);
	buf_addch(&want, '\n');
	ck_assert_ptr_nonnull(at);
	at += strlen(head);
	ck_assert_msg(!strncmp(at, want.data, want.len), "docs/monitor.md does not have these rows:\n%s", want.data);
	buf_deinit(&want);
	free(text);
}
END_TEST

/* Each command has one line of help, in `help`, `help NAME` and, for its alias, the same. */
START_TEST(test_help)
{
	size_t n;
	const struct monitor_command *commands = monitor_commands(&n);

	for (size_t i = 0; i < n; i++) {
		struct buf line = { 0 }, again = { 0 };

		buf_addf(&line, "help %s", commands[i].name);
		run(buf_str(&line));
		ck_assert_ptr_nonnull(strstr(buf_str(&f.output), commands[i].help));
		buf_add(&again, f.output.data, f.output.len);
		run("help");
		ck_assert_ptr_nonnull(strstr(buf_str(&f.output), buf_str(&again)));
		buf_reset(&line);
		buf_addf(&line, "help %s", commands[i].alias ? commands[i].alias : commands[i].name);
		expect(buf_str(&line), buf_str(&again));
		buf_deinit(&line);
		buf_deinit(&again);
	}
}
END_TEST

static Suite *monitor_suite(void)
{
	Suite *suite = suite_create("monitor");
	TCase *tc = tcase_create("commands");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, test_examine, 0, ARRAY_LEN(examined));
	tcase_add_test(tc, test_examine_virtual);
	tcase_add_test(tc, test_examine_prefix);
	tcase_add_loop_test(tc, test_refused, 0, ARRAY_LEN(refused));
	tcase_add_test(tc, test_version);
	tcase_add_test(tc, test_registers);
	tcase_add_test(tc, test_registers_selection);
	tcase_add_test(tc, test_cpus);
	tcase_add_test(tc, test_maps);
	tcase_add_test(tc, test_system);
	tcase_add_test(tc, test_run_state);
	tcase_add_test(tc, test_gdb);
	tcase_add_test(tc, test_save);
	tcase_add_loop_test(tc, test_dump, 0, ARRAY_LEN(dumps));
	tcase_add_test(tc, test_background);
	tcase_add_test(tc, test_cancel_background);
	tcase_add_loop_test(tc, test_cancel_foreground, 0, 2);
	tcase_add_test(tc, test_closed_pipe);
	tcase_add_loop_test(tc, test_gone_while_dumping, 0, 2);
	tcase_add_loop_test(tc, test_expression, 0, ARRAY_LEN(expressions));
	tcase_add_loop_test(tc, test_aliases, 0, 3);
	tcase_add_loop_test(tc, test_completion, 0, ARRAY_LEN(completions));
	tcase_add_test(tc, test_help);
	suite_add_tcase(suite, tc);
	tc = tcase_create("manual");
	tcase_add_test(tc, test_manual);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return suite_run(monitor_suite());
}
