/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "guest/hmp_regs.h"
#include "tests/suite.h"
#include "tests/text_file.h"
#include "tests/toy_arch.h"

#define DATA "tests/data/qemu/"

static void expect_error(struct err *e, enum err_code code, const char *text)
{
	ck_assert_msg(e && err_code(e) == code && strstr(err_text(e), text), "%s", e ? err_text(e) : "it succeeds");
	err_destroy(e);
}

/* What is in the text, and nothing else. */
static struct regs *parse(const char *arch, enum byte_order order, const char *text)
{
	struct regs *regs = regs_create(arch_by_name(arch), order);
	struct err *e = hmp_regs_parse(text, regs);

	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
	return regs;
}

/* As a number, most significant digit first; "" for unknown. Caller frees. */
static char *value_of(const struct regs *regs, const char *name)
{
	int reg = arch_reg_by_name(regs->arch, name);
	struct buf b = { 0 };
	const uint8_t *bytes;
	size_t n;

	ck_assert_msg(reg >= 0, "no row %s", name);
	bytes = regs_bytes(regs, (unsigned)reg);
	n = reg_bytes(regs->arch, (unsigned)reg);
	for (size_t i = 0; bytes && i < n; i++)
		buf_add_hex(&b, &bytes[regs->order == ORDER_BIG ? i : n - 1 - i], 1);
	return buf_take(&b);
}

static void expect_value(const struct regs *regs, const char *name, const char *want)
{
	char *got = value_of(regs, name);

	ck_assert_msg(!strcmp(got, want), "%s is \"%s\" instead of \"%s\"", name, got, want);
	free(got);
}

/* ---- texts of QEMU 7.2 ---- */

struct value {
	const char *name, *value;
};

struct recording {
	const char *file, *arch;
	enum byte_order order;
	size_t n_known;
	struct value values[40];
};

/*
 * General, floating-point and vector registers were set through QEMU's gdbstub
 * before the text was taken, to values of which each tells its register; the
 * others are the guest's own, as they read in the text.
 */
static const struct recording RECORDINGS[] = {
	{ "x86_64-64bit-registers.txt", "x86_64", ORDER_LITTLE, 109, {
		{ "rax", "8070605040302010" }, { "rbp", "8676665646362616" }, { "r8", "8878685848382818" },
		{ "r15", "8f7f6f5f4f3f2f1f" }, { "rip", "ffffffff819b95b8" }, { "eflags", "00000293" },
		{ "cs", "00000010" }, { "cs_attr", "00a09b00" }, { "cs_limit", "ffffffff" },
		{ "ds_attr", "00000000" }, { "gs_base", "ff1100000f900000" }, { "ss_attr", "00c09300" },
		{ "tr", "00000040" }, { "tr_base", "fffffe000003e000" }, { "tr_limit", "00004087" },
		{ "tr_attr", "00008900" }, { "ldtr_attr", "00008200" },
		{ "gdtr_base", "fffffe000003c000" }, { "gdtr_limit", "0000007f" },
		{ "idtr_base", "fffffe0000000000" }, { "idtr_limit", "00000fff" },
		{ "cr0", "0000000080050033" }, { "cr3", "0000000002a10000" }, { "cr4", "0000000000751ea0" },
		{ "cr8", "" }, { "efer", "0000000000000d01" }, { "dr6", "00000000ffff0ff0" },
		{ "fctrl", "0000027f" }, { "fstat", "00001800" }, { "ftag", "0000ffff" }, { "fop", "" },
		{ "mxcsr", "00001fa0" }, { "st0", "408b7766554433221103" }, { "st4", "408f7766554433221107" },
		{ "st5", "40887766554433221100" }, { "st7", "408a7766554433221102" },
		{ "xmm0", "f00e0d0c0b0a09080706050403020100" }, { "xmm15", "ff0e0d0c0b0a0908070605040302010f" },
		{ "ymm15h", "00000000000000000000000000000000" }, { "k_gs_base", "" },
	} },
	{ "x86_64-32bit-registers.txt", "x86_64", ORDER_LITTLE, 77, {
		{ "rax", "0000000040302010" }, { "rsp", "0000000047372717" }, { "r8", "" },
		{ "rip", "00000000000fd09a" }, { "eflags", "00000002" }, { "cs", "00000008" },
		{ "cs_attr", "00c09b00" }, { "fs_base", "0000000000000000" }, { "gs_limit", "ffffffff" },
		{ "tr_attr", "00008b00" }, { "tr_base", "0000000000000000" },
		{ "gdtr_base", "00000000000f6180" }, { "gdtr_limit", "00000037" },
		{ "idtr_base", "00000000000f61be" }, { "cr0", "0000000000000011" },
		{ "dr7", "0000000000000400" }, { "efer", "0000000000000000" }, { "xmm8", "" }, { "ymm0h", "" },
	} },
	{ "x86_64-16bit-registers.txt", "x86_64", ORDER_LITTLE, 77, {
		{ "rbx", "0000000041312111" }, { "r9", "" }, { "rip", "000000000000fff0" },
		{ "cs", "0000f000" }, { "cs_base", "00000000ffff0000" }, { "cs_limit", "0000ffff" },
		{ "cs_attr", "00009b00" }, { "cr0", "0000000060000010" }, { "idtr_limit", "0000ffff" },
		{ "fstat", "00002800" }, { "st0", "408d7766554433221105" }, { "st3", "40887766554433221100" },
		{ "xmm7", "f70e0d0c0b0a09080706050403020107" }, { "xmm8", "" },
	} },
	{ "s390x-registers.txt", "s390x", ORDER_BIG, 82, {
		{ "pswm", "0404c00180000000" }, { "pswa", "000000000011728e" }, { "r0", "1020304050607000" },
		{ "r15", "102030405060700f" }, { "f0", "3ff0000000000000" }, { "v0l", "a0b0c0d0e0f00000" },
		{ "f15", "3ff0000000000f00" }, { "v15l", "a0b0c0d0e0f00f00" },
		{ "v16", "00112233445566778899aabbccdd10ff" }, { "v31", "00112233445566778899aabbccdd1fff" },
		{ "cr0", "0000000014166a10" }, { "cr1", "0000000001290007" }, { "cr15", "0000000001675000" },
		{ "fpc", "" }, { "acr0", "" }, { "prefix", "" },
	} },
	{ "ppc64le-registers.txt", "ppc64", ORDER_LITTLE, 90, {
		{ "r0", "80c0102030405000" }, { "r31", "9fc010203040501f" }, { "pc", "c000000000050060" },
		{ "lr", "c000000000050058" }, { "ctr", "c000000000050030" }, { "msr", "8000000000001033" },
		{ "xer", "e0040000" }, { "cr", "87654321" }, { "f0", "3ff0000000000000" },
		{ "f31", "3ff000000000001f" }, { "fpscr", "0000000024030201" }, { "vrsave", "00000000" },
		{ "srr0", "c0000000000e1130" }, { "srr1", "8000000002009033" }, { "pvr", "00000000004e1200" },
		{ "sprg1", "c000000002880000" }, { "spr_cfar", "c000000000050064" }, { "lpcr", "0000000003d3f408" },
		{ "tbu", "0000000000000002" }, { "tbl", "00000002c79069e3" }, { "decr", "ffffffffffc36805" },
		{ "sdr1", "" }, { "vr0", "" },
	} },
	{ "ppc64be-registers.txt", "ppc64", ORDER_BIG, 90, {
		{ "r0", "80c0102030405050" }, { "r17", "91c0102030405051" }, { "pc", "000000001daf0a3c" },
		{ "lr", "000000001daf51f8" }, { "ctr", "4142434445464748" }, { "msr", "8000000000000000" },
		{ "xer", "20040000" }, { "cr", "12345678" }, { "f5", "3ff0000000000005" },
		{ "fpscr", "0000000000000001" }, { "tbl", "00000000a58ae968" }, { "decr", "000000005a751697" },
		{ "ptcr", "0000000000000000" }, { "dsisr", "0000000000000000" },
	} },
};

static char *recording_text(const struct recording *r)
{
	struct buf path = { 0 };
	char *text;

	buf_addf(&path, DATA "%s", r->file);
	text = text_file_read(path.data);
	buf_deinit(&path);
	return text;
}

static size_t count_known(const struct regs *regs)
{
	size_t n = 0;

	for (size_t i = 0; i < regs->arch->n_regs; i++)
		n += regs->valid[i];
	return n;
}

START_TEST(test_recording)
{
	const struct recording *r = &RECORDINGS[_i];
	char *text = recording_text(r);
	struct regs *regs = parse(r->arch, r->order, text);

	for (size_t i = 0; i < ARRAY_LEN(r->values) && r->values[i].name; i++)
		expect_value(regs, r->values[i].name, r->values[i].value);
	ck_assert_uint_eq(count_known(regs), r->n_known);
	regs_destroy(regs);
	free(text);
}
END_TEST

/* Of two vCPUs the first one counts, and what it does not tell stays. */
START_TEST(test_first_vcpu)
{
	const struct recording *r = &RECORDINGS[_i];
	char *text = recording_text(r);
	struct regs *want = parse(r->arch, r->order, text), *got = regs_create(want->arch, want->order);
	struct buf both = { 0 };
	size_t last = want->arch->n_regs - 1;

	buf_addf(&both, "\r\n%s\r\nCPU#7\r\nEAX=1 RAX=2 PSW=mask 3 addr 4\r\nNIP 5 MSR 6\r\n", text);
	if (!want->valid[last])
		regs_set(want, (unsigned)last, 0x55);
	regs_set(got, (unsigned)last, 0x55);
	ck_assert_ptr_null(hmp_regs_parse(both.data, got));
	for (size_t i = 0; i < want->arch->n_regs; i++) {
		ck_assert_int_eq(got->valid[i], want->valid[i]);
		ck_assert_mem_eq(got->slots[i], want->slots[i], sizeof(got->slots[i]));
	}
	buf_deinit(&both);
	regs_destroy(want);
	regs_destroy(got);
	free(text);
}
END_TEST

/* Every beginning of it: an error, or fewer registers. */
START_TEST(test_cut_off)
{
	const struct recording *r = &RECORDINGS[_i];
	char *text = recording_text(r);

	for (size_t bytes = 0; bytes < strlen(text); bytes += 7) {
		char *part = xstrndup(text, bytes);
		struct regs *regs = regs_create(arch_by_name(r->arch), r->order);
		struct err *e = hmp_regs_parse(part, regs);

		ck_assert_uint_le(count_known(regs), e ? 0 : r->n_known);
		err_destroy(e);
		regs_destroy(regs);
		free(part);
	}
	free(text);
}
END_TEST

/* ---- what other versions and modes look like ---- */

struct text_case {
	const char *arch;
	enum byte_order order;
	const char *text;
	struct value values[12];
};

static const struct text_case TEXTS[] = {
	{ /* compatibility mode: bases in 32 bits, but those of FS, GS, LDT and TR have 64 */
		"x86_64", ORDER_LITTLE,
		"EAX=00000001 EBX=00000002 ECX=00000003 EDX=00000004\nEIP=08048000 EFL=00000202 [-------]\n"
		"CS =0023 00000000 ffffffff 00cffb00 DPL=3 CS32 [-RA]\nGS =0063 f7f8c700 ffffffff 00cff300 DPL=3 DS\n"
		"TR =0040 0003e000 00004087 00008b00 DPL=0 TSS64-busy\nGDT=     fffffe000003c000 0000007f\n"
		"CR0=80050033 CR2=00000000f7f8c700 CR3=0000000002a10000 CR4=00751ea0\nEFER=0000000000000d01\n",
		{ { "rax", "0000000000000001" }, { "r8", "" }, { "cs_base", "0000000000000000" }, { "gs_base", "" },
		  { "gs", "00000063" }, { "tr_base", "" }, { "tr_limit", "00004087" },
		  { "gdtr_base", "fffffe000003c000" }, { "cr2", "00000000f7f8c700" } },
	},
	{ /* AVX512, of which the lower half has rows; R16 to R31 of APX have none */
		"x86_64", ORDER_LITTLE,
		"R8 =0000000000000008 R9 =0000000000000009\nR16=0000000000000016 R31=0000000000000031\n"
		"RIP=0000000000000001 RFL=00000002\nOpmask00=00000000000000ff Opmask01=0000000000000000\n"
		"ZMM00=0000000000000007 0000000000000006 0000000000000005 0000000000000004 1111111111111113 "
		"0000000000000002 0000000000000001 1111111111111110\n"
		"ZMM31=0000000000000007 0000000000000006 0000000000000005 0000000000000004 0000000000000003 "
		"0000000000000002 0000000000000001 0000000000000000\n",
		{ { "r8", "0000000000000008" }, { "r10", "" }, { "xmm0", "00000000000000011111111111111110" },
		  { "ymm0h", "11111111111111130000000000000002" }, { "xmm1", "" } },
	},
	{ /* AVX, and an x87 stack of two values (SDM volume 1, 8.1.7: 0 valid, 1 zero, 3 empty) */
		"x86_64", ORDER_LITTLE,
		"RIP=0000000000000001\nFCW=037f FSW=3000 [ST=6] FTW=c0 MXCSR=00001f80\n"
		"FPR0=0000000000000000 0000 FPR1=0000000000000000 0000\n"
		"FPR2=0000000000000000 0000 FPR3=0000000000000000 0000\n"
		"FPR4=0000000000000000 0000 FPR5=0000000000000000 0000\n"
		"FPR6=8000000000000000 3fff FPR7=0000000000000000 0000\n"
		"YMM09=0000000000000004 0000000000000003 0000000000000002 0000000000000001\n",
		{ { "st0", "3fff8000000000000000" }, { "st1", "00000000000000000000" }, { "ftag", "00004fff" },
		  { "xmm9", "00000000000000020000000000000001" }, { "ymm9h", "00000000000000040000000000000003" } },
	},
	{ /* KVM has no cc, and a CPU without the vector facility F registers */
		"s390x", ORDER_BIG,
		"PSW=mask 0404c00180000000 addr 0000000000117282\n"
		"R00=0000000000000001 R01=0000000000000002 R02=0000000000000003 R03=0000000000000004\n"
		"F00=4010000000000000 F01=0000000000000001 F02=0000000000000002 F15=000000000000000f\n"
		"C00=0000000014166a10 C13=0000000001290007\n",
		{ { "pswa", "0000000000117282" }, { "r3", "0000000000000004" }, { "f0", "4010000000000000" },
		  { "f15", "000000000000000f" }, { "v0l", "" }, { "cr13", "0000000001290007" }, { "cr1", "" } },
	},
	{ /* later: FPC */
		"s390x", ORDER_BIG,
		"PSW=mask 0404c00180000000 addr 0000000000117282 cc 02\nV00=3ff0000000000000a0b0c0d0e0f00000 \n"
		"FPC=00080000\n",
		{ { "fpc", "00080000" }, { "f0", "3ff0000000000000" }, { "v0l", "a0b0c0d0e0f00000" } },
	},
	{ /* later: PIR; a POWER8 has SDR1 */
		"ppc64", ORDER_BIG,
		"NIP 0000000000000100   LR 0000000000000000 CTR 0000000000000000 XER 0000000000000000 PIR "
		"0000000000000008 CPU#1\nTB 00000000 00000099 DECR 88\n SDR1 0000000000000012   DAR 0000000000000034"
		"  DSISR 0000000042000000\n",
		{ { "pir", "0000000000000008" }, { "sdr1", "0000000000000012" }, { "dar", "0000000000000034" },
		  { "dsisr", "0000000042000000" }, { "tbl", "0000000000000063" }, { "decr", "0000000000000058" },
		  { "ptcr", "" } },
	},
	{ /* words that are missing, too long or no numbers */
		"ppc64", ORDER_BIG,
		"NIP 0000000000000100\nGPR00 0000000000000001 0000000000000002 0000000000000003\n"
		"GPR04 0000000000000001 xx 0000000000000003 0000000000000004\nTB 0a 1\n"
		"DECR 99999999999999999999999\nSRR0\n SRR1 -1\nLPCR",
		{ { "r0", "" }, { "r4", "" }, { "tbl", "" }, { "decr", "" }, { "srr0", "" }, { "srr1", "" },
		  { "lpcr", "" } },
	},
};

START_TEST(test_text)
{
	const struct text_case *t = &TEXTS[_i];
	struct regs *regs = parse(t->arch, t->order, t->text);

	for (size_t i = 0; i < ARRAY_LEN(t->values) && t->values[i].name; i++)
		expect_value(regs, t->values[i].name, t->values[i].value);
	regs_destroy(regs);
}
END_TEST

static const char *const NO_REGISTERS[] = {
	"", "\r\n", "unknown command: 'info registers'\r\n", "RIP=", "xRIP=1", "CPU#0\nEAX=00000000\n",
	"NIP 0000000000000100",
};

START_TEST(test_no_registers)
{
	struct regs *regs = regs_create(arch_by_name("x86_64"), ORDER_LITTLE);

	expect_error(hmp_regs_parse(NO_REGISTERS[_i], regs), ERR_INVALID, "tells nothing of x86_64");
	ck_assert_uint_eq(count_known(regs), 0);
	regs_destroy(regs);
}
END_TEST

START_TEST(test_other_architecture)
{
	struct regs *regs = regs_create(&toy64, ORDER_LITTLE);

	expect_error(hmp_regs_parse("PC=1", regs), ERR_UNSUPPORTED, "toy64");
	regs_destroy(regs);
}
END_TEST

static TCase *cases(void)
{
	TCase *tc = tcase_create("info registers");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_recording, 0, ARRAY_LEN(RECORDINGS));
	tcase_add_loop_test(tc, test_first_vcpu, 0, ARRAY_LEN(RECORDINGS));
	tcase_add_loop_test(tc, test_cut_off, 0, ARRAY_LEN(RECORDINGS));
	tcase_add_loop_test(tc, test_text, 0, ARRAY_LEN(TEXTS));
	tcase_add_loop_test(tc, test_no_registers, 0, ARRAY_LEN(NO_REGISTERS));
	tcase_add_test(tc, test_other_architecture);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("hmp_regs");

	suite_add_tcase(s, cases());
	return suite_run(s);
}
