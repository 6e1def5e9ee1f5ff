/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86_64.h"
#include "base/alloc.h"
#include "base/hex.h"
#include "guest/os.h"
#include "rsp/session.h"
#include "tests/fake_guest.h"
#include "tests/suite.h"

/* ---- a session on the fake guest ---- */

struct fixture {
	struct guest *g; /* what the session starts with, and attaches to as process 7 */
	struct rsp_session *s;
	unsigned detaches;
};

static void monitor(void *arg, struct rsp_session *s, const char *command)
{
	(void)arg;
	if (!strncmp(command, "echo ", 5)) {
		rsp_session_console(s, command + 5, strlen(command + 5));
		rsp_session_monitor_done(s, NULL);
	} else if (strcmp(command, "wait") != 0) {
		rsp_session_monitor_done(s, err_new(ERR_USAGE, "no command #1 of that name"));
	}
}

static struct err *attach(void *arg, pid_t pid, struct guest **ret)
{
	struct fixture *f = arg;

	if (pid != 7)
		return err_new(ERR_INVALID, "process %d has no guest", (int)pid);
	*ret = f->g;
	return NULL;
}

static void detach(void *arg)
{
	struct fixture *f = arg;

	f->detaches++;
}

/* arg of the callbacks is set by fixture_ready(), where the fixture has its place. */
static struct fixture fixture_of(struct guest *g)
{
	const struct rsp_host host = { .monitor = monitor, .attach = attach, .detach = detach };

	return (struct fixture){ .g = g, .s = rsp_session_create(g, &host) };
}

static void fixture_ready(struct fixture *f)
{
	f->s->host.arg = f;
}

static struct fixture fixture_new(void)
{
	return fixture_of(fake_guest_create(2));
}

static void fixture_end(struct fixture *f)
{
	rsp_session_destroy(f->s);
	guest_destroy(f->g);
}

static void add_frame(struct buf *out, const char *payload, size_t bytes)
{
	unsigned sum = 0;

	for (size_t i = 0; i < bytes; i++)
		sum += (unsigned char)payload[i];
	buf_addch(out, '$');
	buf_add(out, payload, bytes);
	buf_addf(out, "#%02x", sum & 0xff);
}

/* What the guest has to say, as the server passes it on; a range step takes many turns. */
static void tell_events(struct fixture *f)
{
	for (int i = 0; i < 64; i++) {
		struct guest_event ev;
		struct err *e = guest_poll(f->g, &ev);

		ck_assert(!e);
		rsp_session_event(f->s, &ev);
	}
}

static void input(struct fixture *f, const char *data, size_t bytes)
{
	fixture_ready(f);
	rsp_session_input(f->s, data, bytes);
	tell_events(f);
}

static void send(struct fixture *f, const char *payload)
{
	struct buf frame = { 0 };

	add_frame(&frame, payload, strlen(payload));
	input(f, frame.data, frame.len);
	buf_deinit(&frame);
}

/* The next frame of c, escapes and all, runs undone; its checksum must be right. */
static char *take_frame(struct cursor *c)
{
	struct cursor body, digits;
	struct buf again = { 0 }, whole = { 0 };
	const char *start = c->at;

	ck_assert_msg(cursor_take_char(c, '$'), "no packet");
	body = cursor_take_until(c, "#");
	digits = *c;
	ck_assert_uint_ge(cursor_left(&digits), 3);
	c->at += 3;
	add_frame(&again, body.at, cursor_left(&body));
	ck_assert_mem_eq(start, again.data, again.len);
	buf_deinit(&again);
	ck_assert(packet_expand(body.at, cursor_left(&body), &whole));
	return buf_take(&whole);
}

/* What the session has sent since the last call, which is an ack and one packet; caller frees. */
static char *answer(struct fixture *f)
{
	struct buf *out = rsp_session_output(f->s);
	struct cursor c = cursor_of(buf_str(out), out->len);
	char *payload;

	cursor_take_char(&c, '+');
	payload = take_frame(&c);
	ck_assert(cursor_at_end(&c));
	buf_reset(out);
	return payload;
}

static char *ask(struct fixture *f, const char *payload)
{
	send(f, payload);
	return answer(f);
}

static void expect(struct fixture *f, const char *payload, const char *want)
{
	char *got = ask(f, payload);

	ck_assert_str_eq(got, want);
	free(got);
}

static void expect_silence(struct fixture *f)
{
	ck_assert_uint_eq(rsp_session_output(f->s)->len, 0);
}

/* ---- bytes in, bytes out: whole, split at every byte, and byte by byte ---- */

static void feed(struct fixture *f, const char *data, size_t bytes, struct buf *out)
{
	input(f, data, bytes);
	buf_add(out, rsp_session_output(f->s)->data, rsp_session_output(f->s)->len);
	buf_reset(rsp_session_output(f->s));
}

static void replay_split(const struct buf *in, size_t at, struct buf *out)
{
	struct fixture f = fixture_new();

	feed(&f, in->data, at, out);
	feed(&f, in->data + at, in->len - at, out);
	fixture_end(&f);
}

static void replay_bytes(const struct buf *in, struct buf *out)
{
	struct fixture f = fixture_new();

	for (size_t i = 0; i < in->len; i++)
		feed(&f, in->data + i, 1, out);
	fixture_end(&f);
}

static void assert_same(const struct buf *a, const struct buf *b)
{
	ck_assert_uint_eq(a->len, b->len);
	ck_assert_mem_eq(buf_str(a), buf_str(b), a->len);
}

/* However the input is cut, the output is the same; it is left in *whole. */
static void replay_all_ways(const struct buf *in, struct buf *whole)
{
	struct buf out = { 0 };

	replay_split(in, in->len, whole);
	for (size_t at = 1; at < in->len; at++) {
		replay_split(in, at, &out);
		assert_same(&out, whole);
		buf_reset(&out);
	}
	replay_bytes(in, &out);
	assert_same(&out, whole);
	buf_deinit(&out);
}

static const struct {
	const char *in, *out;
} raw_cases[] = {
	{ "$qC#b4", "+$QC1#c5" },
	{ "+$qC#B4", "+$QC1#c5" },
	{ "$#00", "+$#00" },
	{ "$qC#b5", "-" },
	{ "$qC#zz", "-" },
	{ "$qC#b5$qC#b4", "-+$QC1#c5" },
	{ "-", "" },
	{ "$qC#b4-", "+$QC1#c5$QC1#c5" },
	{ "$qC#b4--", "+$QC1#c5$QC1#c5$QC1#c5" },
	{ "noise\r\n#00$qC#b4 ", "+$QC1#c5" },
	{ "$qThre$qC#b4", "+$QC1#c5" },
	{ "$qC#$qC#b4", "+$QC1#c5" },
	{ "\003$qC#b4\003", "+$QC1#c5" },
	{ "$q*C#de", "+$#00" },
	{ "$q*!C#ff", "+$#00" },
	{ "$QStartNoAckMode#b0+$qC#b4+-", "+$OK#9a$QC1#c5" },
	{ "$QStartNoAckMode#b0$qC#00", "+$OK#9a$QC1#c5" },
	{ "$k#6b$qC#b4", "+" },
	{ "$D#44$qC#b4", "+$OK#9a" },
};

START_TEST(test_raw)
{
	struct buf in = { 0 }, out = { 0 };

	buf_adds(&in, raw_cases[_i].in);
	replay_all_ways(&in, &out);
	ck_assert_str_eq(buf_str(&out), raw_cases[_i].out);
	buf_deinit(&in);
	buf_deinit(&out);
}
END_TEST

/* ---- transcripts ---- */

/*
 * send: a payload; INTERRUPT: that byte; MORE: nothing, another reply is due.
 * want: the reply; with '~' at its end what it starts with; NULL: none comes.
 */
struct step {
	const char *send, *want;
};

#define INTERRUPT "\003"
#define MORE ""
#define MAX_STEPS 24

#define STOP_1 "thread:1;core:0;10:3031323334353637;7:15161718191a1b1c;6:1213141516171819;"
#define STOP_2 "thread:2;core:1;10:7071727374757677;7:55565758595a5b5c;6:5253545556575859;"

static const struct step transcripts[][MAX_STEPS] = {
	{
		{ "qSupported:multiprocess+;swbreak+;xmlRegisters=i386",
		  "PacketSize=40000;QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;"
		  "qXfer:threads:read+;vContSupported+;binary-upload+;swbreak+;hwbreak+;"
		  "QThreadSuffixSupported+;QListThreadsInStopReply+" },
		{ "vMustReplyEmpty", "" },
		{ "QStartNoAckMode", "OK" },
		{ "Hg0", "OK" },
		{ "qTStatus", "" },
		{ "?", "T05" STOP_1 },
		{ "qAttached", "1" },
		{ "qAttached:a410", "1" },
		{ "qOffsets", "" },
		{ "qSymbol::", "OK" },
		{ "Hc-1", "OK" },
		{ "qC", "QC1" },
		{ "vCont?", "vCont;c;C;s;S;t;r" },
		{ "D;1", "OK" },
	},
	{
		{ "qSupported", "PacketSize=~" },
		{ "qSupported:error-message+", "PacketSize=40000;~" },
		{ "m10000,1", "E.no guest memory at physical address 0x10000~" },
		{ "x10000,1", "E.~" },
		{ "qRcmd,78", "E.no command ?1 of that name" },
		{ "qSupported:error-message-;", "PacketSize=40000;~" },
		{ "m10000,1", "E0e" },
		{ "qSupported,x", "E.malformed packet" },
	},
	{ /* memory, by virtual addresses */
		{ "m5000,8", "5051525354555657" },
		{ "mffffffff81000000,8", "5051525354555657" },
		{ "M5000,2:Ff01", "OK" },
		{ "mffffffff81000000,4", "ff015253" },
		{ "Mffffffff81000ffe,2:4142", "OK" },
		{ "m5ffe,2", "4142" },
		{ "m0000000000000000020,1", "20" },
		{ "m20000,3", "000102" },
		{ "mfffff000,2", "f0f1" },
	},
	{ /* the bytes before the first that cannot be read */
		{ "mfffe,10", "0100" },
		{ "mffffffff81000ffc,8", "a3a2a1a0" },
		{ "mffffffff81001000,1", "E0e" },
		{ "m20ffe,ffffffffffffffff", "f1f0" },
		{ "xffffffff81000ffc,8", "b\xa3\xa2\xa1\xa0" },
		{ "x20ffe,100000000", "b\xf1\xf0" },
		{ "x20,10", "b !\"}\003}\004%&'()}\n+,-./" },
		{ "x7c,3", "b|}]~" "~" },
		{ "x10000,1", "E0e" },
		{ "x0,0", "b" },
		{ "M20ffe,4:00000000", "E.~" },
		{ "m20ffe,2", "f1f0" },
		{ "Mffffffff81000ffe,4:00000000", "E.~" },
		{ "m5ffe,2", "a1a0" },
	},
	{ /* binary writes */
		{ "X5000,0:", "OK" },
		{ "X5000,5:a}\003}\004}]}\n", "OK" },
		{ "m5000,6", "6123247d2a55" },
		{ "X5000,2:abc", "E.malformed packet" },
		{ "X5000,2:a", "E.malformed packet" },
		{ "X5000,1:}", "E.malformed packet" },
		{ "X5000,1", "E.malformed packet" },
		{ "X,1:a", "E.malformed packet" },
		{ "X10000,1:a", "E.~" },
		{ "m5000,2", "6123" },
	},
	{ /* garbage */
		{ "m", "E16" },
		{ "m5000", "E16" },
		{ "m5000,", "E16" },
		{ "m5000,0", "E16" },
		{ "m5000,1x", "E16" },
		{ "m5000,1,1", "E16" },
		{ "mxyz,1", "E16" },
		{ "m-1,1", "E16" },
		{ "m10000000000000000,1", "E16" },
		{ "m0,10000000000000000", "E16" },
		{ "x5000", "E16" },
		{ "M5000,1:0", "E.malformed packet" },
		{ "M5000,1:0g", "E.malformed packet" },
		{ "M5000,1:000", "E.malformed packet" },
		{ "M5000,2:00", "E.malformed packet" },
		{ "M5000,ffffffffffffffff:00", "E.malformed packet" },
		{ "M5000,1", "E.malformed packet" },
		{ "g0", "E.malformed packet" },
		{ "?0", "E.malformed packet" },
		{ "k0", "E.malformed packet" },
		{ "D1", "" },
		{ "D;x", "E.malformed packet" },
		{ "m5000,2", "5051" },
	},
	{ /* the last bytes of the address space */
		{ "Qqemu.PhyMemMode:1", "OK" },
		{ "mffffffffffffffff,2", "E0e" },
		{ "Mffffffffffffffff,2:0000", "E.~" },
		{ "Qqemu.PhyMemMode:0", "OK" },
		{ "mffffffffffffffff,2", "E0e" },
		{ "Mffffffffffffffff,2:0000", "E.~" },
	},
	{ /* QEMU's packets */
		{ "qqemu.PhyMemMode", "0" },
		{ "Qqemu.PhyMemMode:1", "OK" },
		{ "qqemu.PhyMemMode", "1" },
		{ "m5000,1", "50" },
		{ "mffffffff81000000,1", "E0e" },
		{ "M5000,1:77", "OK" },
		{ "x5000,1", "bw" },
		{ "Qqemu.PhyMemMode:0", "OK" },
		{ "mffffffff81000000,1", "77" },
		{ "Qqemu.PhyMemMode:2", "E.malformed packet" },
		{ "Qqemu.PhyMemMode", "E.malformed packet" },
		{ "Qqemu.PhyMemMode:1x", "E.malformed packet" },
		{ "qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4" },
		{ "qqemu.sstep", "0x7" },
		{ "Qqemu.sstep=0x5", "OK" },
		{ "qqemu.sstep", "0x5" },
		{ "qqemu.sstep=1", "OK" },
		{ "qqemu.sstep", "0x1" },
		{ "Qqemu.sstep=8", "E.~" },
		{ "Qqemu.sstep=", "E.malformed packet" },
		{ "qqemu.sstepx", "" },
	},
	{ /* registers */
		{ "p0", "0001020304050607" },
		{ "p7", "15161718191a1b1c" },
		{ "p10", "3031323334353637" },
		{ "p39", "xxxxxxxxxxxxxxxx" },
		{ "P0=1122334455667788", "OK" },
		{ "p0", "1122334455667788" },
		{ "P0=11223344556677", "E.malformed packet" },
		{ "P0=112233445566778899", "E.malformed packet" },
		{ "P0=xxxxxxxxxxxxxxxx", "E.malformed packet" },
		{ "P0", "E.malformed packet" },
		{ "Pffff=00", "E.~" },
		{ "pffff", "E.~" },
		{ "pffffffffffffffff", "E.~" },
		{ "p", "E.malformed packet" },
		{ "p0,1", "E.malformed packet" },
		{ "G00", "E.malformed packet" },
		{ "P39=0000000000000001", "OK" },
		{ "p39", "0000000000000001" },
		{ "Hg2", "OK" },
		{ "p0", "4041424344454647" },
	},
	{ /* threads */
		{ "qfThreadInfo", "m1,2" },
		{ "qsThreadInfo", "l" },
		{ "qfThreadInfo", "m1,2" },
		{ "T1", "OK" },
		{ "T2", "OK" },
		{ "T3", "E.~" },
		{ "T0", "E.~" },
		{ "T", "E.~" },
		{ "T-1", "E.~" },
		{ "Hg2", "OK" },
		{ "qC", "QC2" },
		{ "m5000,1", "50" },
		{ "mffffffff81000000,1", "E0e" },
		{ "Hg3", "E.~" },
		{ "Hg-1", "OK" },
		{ "Hgp1.1", "E.malformed packet" },
		{ "Hx1", "E.malformed packet" },
		{ "Hg1x", "E.malformed packet" },
		{ "qC", "QC2" },
		{ "Hc1", "OK" },
		{ "qThreadExtraInfo,1", "7643505520303a2066616b652030" }, /* vCPU 0: fake 0 */
		{ "qThreadExtraInfo,3", "E.~" },
		{ "qThreadExtraInfo", "E.~" },
	},
	{ /* documents */
		{ "qXfer:threads:read::0,1000",
		  "l<?xml version=\"1.0\"?>\n<threads>\n"
		  "<thread id=\"1\" core=\"0\" name=\"vCPU 0\">fake 0</thread>\n"
		  "<thread id=\"2\" core=\"1\" name=\"vCPU 1\">fake 1</thread>\n"
		  "</threads>\n" },
		{ "qXfer:threads:read::0,5", "m<?xml" },
		{ "qXfer:threads:read::5,8", "m version" },
		{ "qXfer:threads:read::1000,8", "E.~" },
		{ "qXfer:threads:read:x:0,8", "E.~" },
		{ "qXfer:threads:read::0", "E.malformed packet" },
		{ "qXfer:threads:read::0,8,8", "E.malformed packet" },
		{ "qXfer:threads:read", "E.malformed packet" },
		{ "qXfer:features:read:other.xml:0,8", "E.~" },
		{ "qXfer:features:read:target.xml:0,5", "m<?xml" },
		{ "qXfer:features:write:target.xml:0,5", "" },
		{ "qXfer:auxv:read::0,5", "" },
		{ "qXfer:memory-map:read::0,1000",
		  "l<?xml version=\"1.0\"?>\n"
		  "<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map V1.0//EN\""
		  " \"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n"
		  "<memory-map>\n"
		  "<memory type=\"ram\" start=\"0x0\" length=\"0x10000\"/>\n"
		  "<memory type=\"ram\" start=\"0x10000\" length=\"0x10000\"/>\n"
		  "<memory type=\"ram\" start=\"0x20000\" length=\"0x1000\"/>\n"
		  "<memory type=\"ram\" start=\"0x21000\" length=\"0xfffde000\"/>\n"
		  "<memory type=\"rom\" start=\"0xfffff000\" length=\"0x1000\"/>\n"
		  "<memory type=\"ram\" start=\"0x100000000\" length=\"0x7fffffff00000000\"/>\n"
		  "<memory type=\"ram\" start=\"0x8000000000000000\" length=\"0x8000000000000000\"/>\n"
		  "</memory-map>\n" },
	},
	{ /* monitor */
		{ "qRcmd,6563686f206869", "O6869" },
		{ MORE, "OK" },
		{ "qRcmd,", "O6e6f20636f6d6d616e64202331206f662074686174206e616d65" },
		{ MORE, "O0a" },
		{ MORE, "E16" },
		{ "qRcmd,656", "E16" },
		{ "qRcmd,6g", "E16" },
		{ "qRcmd,650065", "E16" },
		{ "qRcmd", "E16" },
		{ "qRcmd,6563686f20", "OK" },
	},
	{ /* running; what comes meanwhile waits */
		{ "vCont;c", NULL },
		{ INTERRUPT, "T02" STOP_1 },
		{ "?", "T02" STOP_1 },
		{ "Hg2", "OK" },
		{ "c", NULL },
		{ INTERRUPT, "T02" STOP_2 },
		{ "C05", NULL },
		{ INTERRUPT, "T02" STOP_2 },
		{ "vCont;C0a:1;c", NULL },
		{ "vCtrlC", "OK" },
		{ MORE, "T02" STOP_2 },
		{ "vCtrlC", "OK" },
		{ "vCont;t", "T00" STOP_2 },
		{ "c5000", NULL },
		{ INTERRUPT, "T02thread:2;core:1;10:0050000000000000;7:~" },
	},
	{ /* running that cannot be */
		{ "vCont", "E.malformed packet" },
		{ "vCont;", "E.malformed packet" },
		{ "vCont;x", "E.malformed packet" },
		{ "vCont;c:", "E.malformed packet" },
		{ "vCont;c:9", "E.~" },
		{ "vCont;C:1", "E.malformed packet" },
		{ "vCont;cc", "E.malformed packet" },
		{ "vCont;s:1;x", "E.malformed packet" },
		{ "vCont;r", "E.malformed packet" },
		{ "vCont;r10", "E.malformed packet" },
		{ "vCont;r10,", "E.malformed packet" },
		{ "vCont;r10,8:1", "E.the range ends at 0x8~" },
		{ "cx", "E.malformed packet" },
		{ "C", "E.malformed packet" },
		{ "C100", "E.malformed packet" },
		{ "C05;", "E.malformed packet" },
		{ "C05x", "E.malformed packet" },
		{ "vContx", "" },
		{ "?", "T05" STOP_1 },
	},
	{ /* steps: a vCPU goes on by 4 bytes */
		{ "QStartNoAckMode", "OK" },
		{ "P10=0001000000000000", "OK" },
		{ "s", "T05thread:1;core:0;10:0401000000000000;~" },
		{ "vCont;s:1", "T05thread:1;core:0;10:0801000000000000;~" },
		{ "vCont;s:1;c", "T05thread:1;core:0;10:0c01000000000000;~" },
		{ "vCont;S05:1;c:-1", "T05thread:1;core:0;10:1001000000000000;~" },
		{ "s200", "T05thread:1;core:0;10:0402000000000000;~" },
		{ "S05;300", "T05thread:1;core:0;10:0403000000000000;~" },
		{ "Hg2", "OK" },
		{ "P10=0001000000000000", "OK" },
		{ "vCont;s:2", "T05thread:2;core:1;10:0401000000000000;~" },
		{ "s", "T05thread:2;core:1;10:0801000000000000;~" },
		{ "Hc1", "OK" },
		{ "s", "T05thread:1;core:0;10:0803000000000000;~" },
		{ "vCont;t:2;s", "T05thread:1;core:0;10:0c03000000000000;~" },
		{ "vCont;t:1;s:1", "T00thread:1;core:0;10:0c03000000000000;~" },
		{ "vCont;s:0", "T05thread:1;core:0;10:1003000000000000;~" },
	},
	{ /* ranges */
		{ "QStartNoAckMode", "OK" },
		{ "P10=0001000000000000", "OK" },
		{ "vCont;r100,100:1;c", "T05thread:1;core:0;10:0401000000000000;~" },
		{ "vCont;r100,110:1;c", "T05thread:1;core:0;10:1001000000000000;~" },
		{ "vCont;r0,100:1", "T05thread:1;core:0;10:1401000000000000;~" },
		{ "vCont;r114,119:1", "T05thread:1;core:0;10:1c01000000000000;~" },
		{ "P10=0001000000000000", "OK" },
		{ "Z1,108,1", "OK" },
		{ "vCont;r100,110:1;t", "T05thread:1;core:0;10:0801000000000000;~" },
		{ "vCont;r100,110:1;t", "T05thread:1;core:0;10:1001000000000000;~" },
		{ "Z1,11c,1", "OK" },
		{ "vCont;r100,120:1;c", "T05thread:2;core:1;10:0801000000000000;~" },
	},
	{ /* breakpoints; both vCPUs run into the first that is set, and the second is not lost */
		{ "QStartNoAckMode", "OK" },
		{ "Z0,5000,1", "OK" },
		{ "Z0,5000,1", "OK" },
		{ "m5000,1", "50" },
		{ "vCont;c", "T05thread:1;core:0;10:0050000000000000;~" },
		{ "?", "T05thread:1;core:0;10:0050000000000000;~" },
		{ "vCont;c", "T05thread:2;core:1;10:0050000000000000;~" },
		{ "qC", "QC2" },
		{ "qSupported:swbreak+", "PacketSize=~" },
		{ "?", "T05thread:2;core:1;swbreak:;10:0050000000000000;~" },
		{ "c", "T05thread:1;core:0;swbreak:;10:0050000000000000;~" },
		{ "z0,5000,1", "OK" },
		{ "z0,5000,1", "OK" },
		{ "Z1,6000,1", "OK" },
		{ "c", "T05thread:1;core:0;10:0060000000000000;~" },
		{ "qSupported:hwbreak+", "PacketSize=~" },
		{ "c", "T05thread:2;core:1;hwbreak:;10:0060000000000000;~" },
		{ "vCont;c:2", "T05thread:2;core:1;hwbreak:;10:0060000000000000;~" },
		{ "Hc1", "OK" },
		{ "c", "T05thread:1;core:0;hwbreak:;10:0060000000000000;~" },
		{ "c7000", "T05thread:1;core:0;hwbreak:;10:0060000000000000;~" },
	},
	{ /* watchpoints, and what is malformed */
		{ "QStartNoAckMode", "OK" },
		{ "Z2,5008,8", "OK" },
		{ "c", "T05thread:1;core:0;watch:5008;10:3031323334353637;~" },
		{ "z2,5008,8", "OK" },
		{ "Z3,5010,4", "OK" },
		{ "c", "T05thread:1;core:0;rwatch:5010;10:~" },
		{ "z3,5010,4", "OK" },
		{ "Z4,ffffffff81000000,1", "OK" },
		{ "c", "T05thread:1;core:0;awatch:ffffffff81000000;10:~" },
		{ "Z0,ffffffff81001000,1", "E.~" },
		{ "Z5,5000,1", "E.~" },
		{ "Z0,5000", "E.malformed packet" },
		{ "Z0,5000,1;X1,0", "E.malformed packet" },
		{ "Zx", "E.malformed packet" },
		{ "z1", "E.malformed packet" },
		{ "m5000,1", "50" },
	},
	{ /* a client that stays when it lets go */
		{ "!", "OK" },
		{ "QNonStop:0", "OK" },
		{ "QNonStop:1", "E.~" },
		{ "QNonStop:2", "E.malformed packet" },
		{ "Qqemu.PhyMemMode:1", "OK" },
		{ "D", "OK" },
		{ "?", "W00" },
		{ "g", "E.no guest is attached~" },
		{ "m0,1", "E16" },
		{ "qC", "E.no guest~" },
		{ "Hg0", "E.no guest~" },
		{ "qXfer:features:read:target.xml:0,5", "E.no guest~" },
		{ "vCont?", "vCont;c;C;s;S;t;r" },
		{ "vCont;c", "E.no guest~" },
		{ "vCtrlC", "E.no guest~" },
		{ "vRun;6c73", "E.~" },
		{ "vAttach;8", "E.process 8 has no guest" },
		{ "?", "W00" },
		{ "vAttach;7", "T05" STOP_1 },
		{ "qqemu.PhyMemMode", "0" },
		{ "m5000,1", "50" },
		{ "k", NULL },
		{ "?", "W00" },
	},
	{ /* attaching in other states, and nonsense */
		{ "vAttach;7", "T05" STOP_1 },
		{ "vAttach;0", "E.malformed packet" },
		{ "vAttach;80000000", "E.malformed packet" },
		{ "vAttach;x", "E.malformed packet" },
		{ "vAttach", "E.malformed packet" },
		{ "vAttach;7;", "E.malformed packet" },
		{ "?", "T05" STOP_1 },
		{ "!", "OK" },
		{ "vKill;7", "OK" },
		{ "vKill;7", "OK" },
		{ "D;7", "OK" },
		{ "?", "W00" },
	},
	{ /* checksums as Python and gdb have them: CRC-32/MPEG-2 of the bytes 50 to 57, of nothing */
		{ "qCRC:5000,8", "Cacf20d77" },
		{ "qCRC:ffffffff81000000,8", "Cacf20d77" },
		{ "qCRC:5000,1000", "Ce2620ebe" },
		{ "qCRC:5000,0", "Cffffffff" },
		{ "qCRC:fff0,20", "E.no guest memory~" },
		{ "qCRC:10000,1", "E.no guest memory~" },
		{ "qCRC:ffffffffffffffff,2", "E.0x2 bytes at~" },
		{ "qCRC:5000", "E.malformed packet" },
		{ "qCRC:5000,", "E.malformed packet" },
		{ "qCRC:5000,1,1", "E.malformed packet" },
	},
	{ /* searches */
		{ "qSearch:memory:5000;1000;\x52\x53", "1,5002" },
		{ "qSearch:memory:5003;1000;\x52\x53", "1,5200" },
		{ "qSearch:memory:5000;3;\x52\x53", "0" },
		{ "qSearch:memory:5000;4;\x52\x53", "1,5002" },
		{ "qSearch:memory:5000;1;\x52\x53", "0" },
		{ "qSearch:memory:5000;0;\x52", "0" },
		{ "qSearch:memory:5000;100;}\003}\004", "1,5073" },
		{ "qSearch:memory:5070;100;}\n+", "1,507a" },
		{ "qSearch:memory:ffffffff81000000;1000;\x52\x53", "1,ffffffff81000002" },
		{ "qSearch:memory:ffffffff81000f00;1000;\xa1\xa0", "1,ffffffff81000ffe" },
		{ "qSearch:memory:ffffffff81000f00;1000;\xa0\xa0", "E.~" },
		{ "qSearch:memory:10000;10;x", "E.no guest memory~" },
		{ "qSearch:memory:ffffffffffffffff;2;x", "E.0x2 bytes at~" },
		{ "qSearch:memory:5000;10;", "E.malformed packet" },
		{ "qSearch:memory:5000;10;}", "E.malformed packet" },
		{ "qSearch:memory:5000;10", "E.malformed packet" },
		{ "qSearch:memory:5000;;x", "E.malformed packet" },
		{ "Qqemu.PhyMemMode:1", "OK" },
		{ "qSearch:memory:20000;1000;\xf1\xf0", "1,201f0" },
	},
	{ /* lldb */
		{ "QThreadSuffixSupported", "OK" },
		{ "QListThreadsInStopReply", "OK" },
		{ "qHostInfo", "triple:7838365f36342d756e6b6e6f776e2d756e6b6e6f776e;endian:little;ptrsize:8;" },
		{ "qProcessInfo",
		  "pid:1;triple:7838365f36342d756e6b6e6f776e2d756e6b6e6f776e;endian:little;ptrsize:8;" },
		{ "qGDBServerVersion", "name:vmgdbserver;version:~" },
		{ "p10;thread:0002;", "7071727374757677" },
		{ "P10=0102030405060708;thread:2;", "OK" },
		{ "p10;thread:2;", "0102030405060708" },
		{ "p10", "3031323334353637" },
		{ "p10;thread:3;", "E.~" },
		{ "p10;thread:2", "E.malformed packet" },
		{ "p10;thread:2;x", "E.malformed packet" },
		{ "p10;thread:;", "E.malformed packet" },
		{ "g;thread:-1;", "E.malformed packet" },
		{ "g;thread:0001;", "000102~" },
		{ "Gxx;thread:1;", "E.malformed packet" },
		{ "?", "T05thread:1;core:0;threads:1,2;10:3031323334353637;~" },
		{ "qThreadStopInfo0001", "T05thread:1;core:0;threads:1,2;10:3031323334353637;~" },
		{ "qThreadStopInfo2", "T00thread:2;core:1;threads:1,2;10:0102030405060708;~" },
		{ "qThreadStopInfo3", "E.~" },
		{ "qThreadStopInfo", "E.~" },
	},
	{ /* lldb's regions */
		{ "qMemoryRegionInfo", "OK" },
		{ "qMemoryRegionInfo:ffffffff81000123", "start:ffffffff81000000;size:1000;permissions:rwx;" },
		{ "qMemoryRegionInfo:1234", "start:0;size:40000000;permissions:rwx;" },
		{ "qMemoryRegionInfo:40000000", "start:40000000;size:80000000;" },
		{ "qMemoryRegionInfo:800000000000", "start:800000000000;size:ffff7fff81000000;" },
		{ "qMemoryRegionInfo:ffffffff81001000", "start:ffffffff81001000;size:7efff000;" },
		{ "qMemoryRegionInfo:", "E.malformed packet" },
		{ "qMemoryRegionInfo:0x1", "E.malformed packet" },
		{ "p10;thread:2;", "E.malformed packet" },
		{ "g;thread:1;", "E.malformed packet" },
	},
	{ /* unknown packets */
		{ "qFoo", "" },
		{ "vFoo", "" },
		{ "QFoo", "" },
		{ "qCRCs", "" },
		{ "qOffsets", "" },
		{ "qTStatus", "" },
		{ "qWatchpointSupportInfo", "" },
		{ "qSupportedx", "" },
		{ "vFile:setfs:0", "" },
		{ "bc", "" },
		{ "jThreadsInfo", "" },
		{ "vKill;a410", "OK" },
	},
};

static void add_sends(const struct step *steps, struct buf *in)
{
	for (; steps->send; steps++) {
		if (!strcmp(steps->send, INTERRUPT))
			buf_adds(in, INTERRUPT);
		else if (strcmp(steps->send, MORE) != 0)
			add_frame(in, steps->send, strlen(steps->send));
	}
}

static void assert_reply(const struct step *step, const char *got)
{
	size_t n = strlen(step->want);

	if (n && step->want[n - 1] == '~')
		ck_assert_msg(!strncmp(got, step->want, n - 1), "%s: %s, not %s", step->send, got, step->want);
	else
		ck_assert_msg(!strcmp(got, step->want), "%s: %s, not %s", step->send, got, step->want);
}

static void assert_replies(const struct step *steps, const struct buf *out)
{
	struct cursor c = cursor_of(buf_str(out), out->len);
	bool acks = true;

	for (; steps->send; steps++) {
		if (acks && strcmp(steps->send, MORE) != 0 && strcmp(steps->send, INTERRUPT) != 0)
			ck_assert_msg(cursor_take_char(&c, '+'), "%s: no ack", steps->send);
		if (!strcmp(steps->send, "QStartNoAckMode"))
			acks = false;
		if (steps->want) {
			char *got = take_frame(&c);

			assert_reply(steps, got);
			free(got);
		}
	}
	ck_assert(cursor_at_end(&c));
}

START_TEST(test_transcript)
{
	struct buf in = { 0 }, out = { 0 };

	add_sends(transcripts[_i], &in);
	replay_all_ways(&in, &out);
	assert_replies(transcripts[_i], &out);
	buf_deinit(&in);
	buf_deinit(&out);
}
END_TEST

/* ---- framing ---- */

START_TEST(test_longest_packet)
{
	struct fixture f = fixture_new();
	struct buf payload = { 0 };
	char *got;

	/* One probe of nothing at 0, written with as many digits as fit. */
	buf_addch(&payload, 'X');
	memset(buf_extend(&payload, PACKET_MAX_BYTES - 4), '0', PACKET_MAX_BYTES - 4);
	buf_adds(&payload, ",0:");
	ck_assert_uint_eq(payload.len, PACKET_MAX_BYTES);
	expect(&f, payload.data, "OK");
	buf_addch(&payload, 'x');
	got = ask(&f, payload.data);
	ck_assert_msg(!strncmp(got, "E.", 2), "%s", got);
	free(got);
	expect(&f, "qC", "QC1");
	buf_deinit(&payload);
	fixture_end(&f);
}
END_TEST

START_TEST(test_binary_round_trip)
{
	struct fixture f = fixture_new();
	struct buf in = { 0 }, out = { 0 }, frame = { 0 };
	struct cursor c;

	for (unsigned i = 0; i < 256; i++)
		buf_addch(&in, (char)i);
	packet_encode(&frame, in.data, in.len);
	/* 256 bytes, four of them escaped, '$', '#' and two digits. */
	ck_assert_uint_eq(frame.len, 256 + 4 + 4);
	c = cursor_of(frame.data + 1, frame.len - 4);
	ck_assert_ptr_null(memchr(c.at, '#', cursor_left(&c)));
	ck_assert_ptr_null(memchr(c.at, '$', cursor_left(&c)));
	ck_assert_ptr_null(memchr(c.at, '*', cursor_left(&c)));
	ck_assert(packet_take_binary(&c, &out));
	assert_same(&in, &out);
	buf_deinit(&in);
	buf_deinit(&out);
	buf_deinit(&frame);
	fixture_end(&f);
}
END_TEST

struct digits_case {
	size_t zeros; /* of the payload, between two other digits */
	const char *payload;
};

/*
 * "Overview" of gdb's remote protocol: a run is worth it from 4 on and goes to 98, and
 * its count, which is that of the repeats plus 29, is neither '#' nor '$'; as
 * gdbserver's it is no ack either.
 */
static const struct digits_case DIGITS[] = {
	{ 0, "12" }, { 3, "10002" }, { 4, "10* 2" }, { 6, "10*\"2" }, { 7, "10*\"02" }, { 8, "10*\"002" },
	{ 9, "10*%2" }, { 15, "10**02" }, { 17, "10*,02" }, { 98, "10*~2" }, { 99, "10*~02" }, { 196, "10*~0*~2" },
};

START_TEST(test_runs)
{
	const struct digits_case *c = &DIGITS[_i];
	struct buf digits = { 0 }, frame = { 0 }, want = { 0 };

	buf_addch(&digits, '1');
	for (size_t i = 0; i < c->zeros; i++)
		buf_addch(&digits, '0');
	buf_addch(&digits, '2');
	packet_encode_digits(&frame, digits.data, digits.len);
	add_frame(&want, c->payload, strlen(c->payload));
	ck_assert_str_eq(frame.data, want.data);
	buf_deinit(&digits);
	buf_deinit(&frame);
	buf_deinit(&want);
}
END_TEST

/* ---- registers ---- */

static const char *g_of(unsigned vcpu, struct buf *ret)
{
	for (unsigned r = 0; r < X86_N_REGS; r++) {
		bool known = r != X86_ORIG_RAX;

		for (size_t i = 0; i < arch_x86_64.regs[r].bits / 8u; i++) {
			if (known)
				buf_addf(ret, "%02x", fake_guest_reg_byte(vcpu, r, i));
			else
				buf_adds(ret, "xx");
		}
	}
	return buf_str(ret);
}

/* Where a register's digits start in the g packet. */
static size_t g_offset(unsigned reg)
{
	size_t at = 0;

	while (reg--)
		at += arch_x86_64.regs[reg].bits / 8u * 2;
	return at;
}

/* The registers that paging needs do not spell their names; take them as they are. */
static void overlay_paging(char *g, const char *with)
{
	static const unsigned rows[] = { X86_CR0, X86_CR3, X86_CR4, X86_EFER };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		memcpy(g + g_offset(rows[i]), with + g_offset(rows[i]), 16);
}

START_TEST(test_g)
{
	struct fixture f = fixture_new();
	struct buf want = { 0 };
	char *got;

	expect(&f, _i ? "Hg2" : "Hg1", "OK");
	got = ask(&f, "g");
	g_of((unsigned)_i, &want);
	ck_assert_uint_eq(strlen(got), want.len);
	overlay_paging(want.data, got);
	ck_assert_str_eq(got, want.data);
	ck_assert_int_eq(strncmp(got + g_offset(X86_CR3), "0010000000000000", 16), 0);
	free(got);
	buf_deinit(&want);
	fixture_end(&f);
}
END_TEST

START_TEST(test_G_leaves_x_alone)
{
	struct fixture f = fixture_new();
	struct buf packet = { 0 };
	char *before = ask(&f, "g"), *after;

	buf_addf(&packet, "G%s", before);
	memset(packet.data + 1, 'x', 16);
	memcpy(packet.data + 1 + g_offset(X86_RBX), "1122334455667788", 16);
	expect(&f, packet.data, "OK");
	after = ask(&f, "g");
	memcpy(before + g_offset(X86_RBX), "1122334455667788", 16);
	ck_assert_str_eq(after, before);
	free(before);
	free(after);
	buf_deinit(&packet);
	fixture_end(&f);
}
END_TEST

/* Half of a register unknown, a digit short, a digit too many: nothing is written. */
START_TEST(test_G_malformed)
{
	struct fixture f = fixture_new();
	struct buf packet = { 0 };
	char *before = ask(&f, "g"), *after;

	buf_addf(&packet, "Gff%s", before + 2);
	switch (_i) {
	case 0:
		packet.data[g_offset(X86_RCX) + 1] = 'x';
		break;
	case 1:
		packet.data[packet.len - 1] = '\0';
		break;
	case 2:
		buf_addch(&packet, '0');
		break;
	default:
		packet.data[packet.len - 1] = 'g';
	}
	expect(&f, packet.data, "E.malformed packet");
	after = ask(&f, "g");
	ck_assert_str_eq(after, before);
	free(before);
	free(after);
	buf_deinit(&packet);
	fixture_end(&f);
}
END_TEST

START_TEST(test_p_P)
{
	struct fixture f = fixture_new();
	size_t digits = arch_x86_64.regs[_i].bits / 8u * 2;
	struct buf packet = { 0 };
	char *got, name[16];

	snprintf(name, sizeof(name), "p%x", (unsigned)_i);
	got = ask(&f, name);
	ck_assert_uint_eq(strlen(got), digits);
	free(got);
	buf_addf(&packet, "P%x=", (unsigned)_i);
	memset(buf_extend(&packet, digits), 'e', digits);
	expect(&f, packet.data, "OK");
	got = ask(&f, name);
	ck_assert_uint_eq(strspn(got, "e"), digits);
	free(got);
	buf_deinit(&packet);
	fixture_end(&f);
}
END_TEST

/* ---- documents ---- */

/* A whole document, fetched in pieces. */
static void fetch(struct fixture *f, const char *object, unsigned piece, struct buf *ret)
{
	char *got;
	bool more;

	do {
		struct buf packet = { 0 };

		buf_addf(&packet, "qXfer:%s:%zx,%x", object, ret->len, piece);
		got = ask(f, packet.data);
		ck_assert(*got == 'm' || *got == 'l');
		more = *got == 'm';
		ck_assert_uint_le(strlen(got + 1), piece);
		buf_adds(ret, got + 1);
		buf_deinit(&packet);
		free(got);
	} while (more);
}

START_TEST(test_target_xml)
{
	struct fixture f = fixture_new();
	struct buf want = { 0 }, got = { 0 };

	arch_target_xml(fake_of(f.g)->regs[0], &want);
	fetch(&f, "features:read:target.xml", 777, &got);
	assert_same(&got, &want);
	buf_reset(&got);
	fetch(&f, "features:read:target.xml", 0x3ffff, &got);
	assert_same(&got, &want);
	buf_deinit(&want);
	buf_deinit(&got);
	fixture_end(&f);
}
END_TEST

/* A vCPU that leaves long mode and loses AVX keeps the layout that gdb was told. */
START_TEST(test_layout_is_fixed)
{
	struct fixture f = fixture_new();
	struct regs *regs = fake_of(f.g)->regs[0];
	struct buf before = { 0 }, after = { 0 };
	char *g, *later;

	fetch(&f, "features:read:target.xml", 0x1000, &before);
	g = ask(&f, "g");
	send(&f, "c");
	regs_set(regs, X86_CR0, 0);
	regs_set(regs, X86_EFER, 0);
	for (unsigned r = X86_YMM0H; r <= X86_YMM15H; r++)
		regs_forget(regs, r);
	rsp_session_input(f.s, "\003", 1);
	free(answer(&f));
	fetch(&f, "features:read:target.xml", 0x1000, &after);
	assert_same(&before, &after);
	later = ask(&f, "g");
	ck_assert_uint_eq(strlen(g), strlen(later));
	ck_assert_uint_ge(strspn(later + g_offset(X86_YMM0H), "x"), 16 * 32);
	free(g);
	free(later);
	buf_deinit(&before);
	buf_deinit(&after);
	fixture_end(&f);
}
END_TEST

/* Without AVX at the start the high halves are in neither the description nor g. */
START_TEST(test_layout_without_avx)
{
	struct guest *g = fake_guest_create(1);
	struct fixture f;
	char *got;

	for (unsigned r = X86_YMM0H; r <= X86_YMM15H; r++)
		regs_forget(fake_of(g)->regs[0], r);
	f = fixture_of(g);
	got = ask(&f, "g");
	ck_assert_uint_eq(strlen(got), g_offset(X86_N_REGS) - 16 * 32);
	free(got);
	got = ask(&f, "p3c");
	ck_assert_int_eq(strncmp(got, "E.", 2), 0);
	free(got);
	fixture_end(&f);
}
END_TEST

START_TEST(test_memory_map_to_the_end)
{
	const struct mem_block block = { .gpa = UINT64_C(0xfffffffffffff000), .bytes = 0x1000 };
	struct fixture f = fixture_of(fake_create(&arch_x86_64, ORDER_LITTLE, 1, &block, 1));
	struct buf map = { 0 };
	const char *last;

	fetch(&f, "memory-map:read:", 64, &map);
	last = strstr(map.data, "start=\"0xfffffffffffff000\"");
	ck_assert_ptr_nonnull(last);
	ck_assert_ptr_null(strstr(last, "<memory "));
	expect(&f, "Qqemu.PhyMemMode:1", "OK");
	expect(&f, "Mfffffffffffffffe,2:4142", "OK");
	expect(&f, "mfffffffffffffffe,4", "4142");
	expect(&f, "mffffffffffffffff,ffffffffffffffff", "42");
	free(ask(&f, "Mffffffffffffffff,2:0000"));
	expect(&f, "mffffffffffffffff,1", "42");
	buf_deinit(&map);
	fixture_end(&f);
}
END_TEST

/* ---- threads ---- */

START_TEST(test_many_threads)
{
	const struct mem_block block = { .bytes = 0x1000 };
	const unsigned n = 2500;
	struct fixture f = fixture_of(fake_create(&arch_x86_64, ORDER_LITTLE, n, &block, 1));
	char *got = ask(&f, "qfThreadInfo");
	uint64_t next = 1;

	for (; *got == 'm'; free(got), got = ask(&f, "qsThreadInfo")) {
		struct cursor c = cursor_of_string(got + 1);
		uint64_t id;

		do {
			ck_assert(cursor_take_hex(&c, &id));
			ck_assert_uint_eq(id, next++);
		} while (cursor_take_char(&c, ','));
		ck_assert(cursor_at_end(&c));
	}
	ck_assert_str_eq(got, "l");
	ck_assert_uint_eq(next, n + 1);
	free(got);
	fixture_end(&f);
}
END_TEST

/* ---- run control ---- */

START_TEST(test_packets_wait_for_the_stop)
{
	struct fixture f = fixture_new();
	const struct guest_event trap = { .kind = GUEST_EVENT_STOPPED, .vcpu = 1, .signal = 5 };
	struct cursor c;
	char *got;

	expect(&f, "QStartNoAckMode", "OK");
	send(&f, "vCont;c");
	ck_assert(rsp_session_running(f.s));
	ck_assert_uint_eq(fake_of(f.g)->resumes, 1);
	send(&f, "qC");
	send(&f, "m5000,1");
	expect_silence(&f);
	rsp_session_event(f.s, &trap);
	ck_assert(!rsp_session_running(f.s));
	c = cursor_of(rsp_session_output(f.s)->data, rsp_session_output(f.s)->len);
	got = take_frame(&c);
	ck_assert_str_eq(got, "T05" STOP_2);
	free(got);
	got = take_frame(&c);
	ck_assert_str_eq(got, "QC2");
	free(got);
	got = take_frame(&c);
	ck_assert_str_eq(got, "50");
	free(got);
	ck_assert(cursor_at_end(&c));
	fixture_end(&f);
}
END_TEST

START_TEST(test_interrupt_stops_once)
{
	struct fixture f = fixture_new();

	send(&f, "c");
	rsp_session_input(f.s, "\003\003\003", 3);
	free(answer(&f));
	ck_assert_uint_eq(fake_of(f.g)->stops, 1);
	ck_assert_int_eq(f.g->state, GUEST_STOPPED);
	fixture_end(&f);
}
END_TEST

START_TEST(test_flood_while_running)
{
	struct fixture f = fixture_new();
	struct buf packet = { 0 };

	send(&f, "c");
	memset(buf_extend(&packet, PACKET_MAX_BYTES), 'q', PACKET_MAX_BYTES);
	for (int i = 0; i < 8 && !rsp_session_ended(f.s); i++)
		send(&f, packet.data);
	ck_assert(rsp_session_ended(f.s));
	buf_deinit(&packet);
	fixture_end(&f);
}
END_TEST

/* A read of 64 KiB holds thousands of packets, each of which may have a long reply. */
#define FLOOD 1000
#define LONG_READ "m20000,1000"
#define OUTPUT_BOUND_BYTES 0x200000u

START_TEST(test_flood_of_packets)
{
	struct fixture f = fixture_new();
	struct buf in = { 0 };
	size_t replies = 0, bytes;

	expect(&f, "QStartNoAckMode", "OK");
	for (int i = 0; i < FLOOD; i++)
		add_frame(&in, LONG_READ, strlen(LONG_READ));
	add_frame(&in, "D", 1);
	input(&f, in.data, in.len);
	ck_assert(rsp_session_full(f.s));
	while ((bytes = rsp_session_output(f.s)->len)) {
		struct cursor c = cursor_of(rsp_session_output(f.s)->data, bytes);

		ck_assert_uint_le(bytes, OUTPUT_BOUND_BYTES);
		for (; !cursor_at_end(&c); replies++)
			free(take_frame(&c));
		buf_reset(rsp_session_output(f.s));
		rsp_session_sent(f.s);
	}
	ck_assert_uint_eq(replies, FLOOD + 1);
	ck_assert(rsp_session_ended(f.s));
	buf_deinit(&in);
	fixture_end(&f);
}
END_TEST

START_TEST(test_flood_of_nacks)
{
	struct fixture f = fixture_new();
	struct buf nacks = { 0 };

	memset(buf_extend(&nacks, FLOOD), '-', FLOOD);
	free(ask(&f, LONG_READ));
	for (int i = 0; i < 3; i++) {
		input(&f, nacks.data, nacks.len);
		ck_assert(rsp_session_full(f.s));
		ck_assert_uint_le(rsp_session_output(f.s)->len, OUTPUT_BOUND_BYTES);
		buf_reset(rsp_session_output(f.s));
	}
	expect(&f, "qC", "QC1");
	buf_deinit(&nacks);
	fixture_end(&f);
}
END_TEST

/* Ctrl-C ends a range that would never end, and a step that follows is a step. */
START_TEST(test_interrupt_of_a_range)
{
	struct fixture f = fixture_new();
	char *got;

	send(&f, "vCont;r0,ffffffffffffffff:1;c");
	ck_assert(rsp_session_running(f.s));
	ck_assert_uint_ge(fake_of(f.g)->steps, 10);
	buf_reset(rsp_session_output(f.s));
	input(&f, "\003", 1);
	got = answer(&f);
	ck_assert_msg(!strncmp(got, "T02thread:1;", 12), "%s", got);
	free(got);
	fake_of(f.g)->steps = 0;
	free(ask(&f, "vCont;s:1"));
	ck_assert_uint_eq(fake_of(f.g)->steps, 1);
	fixture_end(&f);
}
END_TEST

static const struct {
	const char *packet;
	enum run_action actions[3];
} plans[] = {
	{ "vCont;s:1", { RUN_STEP, RUN_HOLD, RUN_HOLD } },
	{ "vCont;s:1;c", { RUN_STEP, RUN_CONTINUE, RUN_CONTINUE } },
	{ "vCont;s:2;c:1", { RUN_CONTINUE, RUN_STEP, RUN_HOLD } },
	{ "vCont;c:-1;s:1", { RUN_CONTINUE, RUN_CONTINUE, RUN_CONTINUE } },
	{ "vCont;t:1;c:1;s:3;c", { RUN_HOLD, RUN_CONTINUE, RUN_STEP } },
	{ "vCont;r10,20:3;C05:2", { RUN_HOLD, RUN_CONTINUE, RUN_STEP } },
	{ "vCont;c:0", { RUN_CONTINUE, RUN_HOLD, RUN_HOLD } },
	{ "s", { RUN_STEP, RUN_CONTINUE, RUN_CONTINUE } },
	{ "c", { RUN_CONTINUE, RUN_CONTINUE, RUN_CONTINUE } },
	{ "Hc2 s", { RUN_HOLD, RUN_STEP, RUN_HOLD } },
	{ "Hc3 c", { RUN_HOLD, RUN_HOLD, RUN_CONTINUE } },
	{ "Hc-1 s", { RUN_STEP, RUN_CONTINUE, RUN_CONTINUE } },
	{ "Hg3 s", { RUN_CONTINUE, RUN_CONTINUE, RUN_STEP } },
};

START_TEST(test_plans)
{
	struct fixture f = fixture_of(fake_guest_create(3));
	const char *packet = plans[_i].packet, *space = strchr(packet, ' ');

	if (space) {
		char *chosen = xstrndup(packet, (size_t)(space - packet));

		expect(&f, chosen, "OK");
		free(chosen);
		packet = space + 1;
	}
	send(&f, packet);
	ck_assert_mem_eq(fake_of(f.g)->actions, plans[_i].actions, sizeof(plans[_i].actions));
	fixture_end(&f);
}
END_TEST

/* A vCPU that has gone while the guest ran is neither chosen nor reported any more. */
START_TEST(test_vcpu_that_goes)
{
	struct fixture f = fixture_new();
	char *got;

	expect(&f, "Hg2", "OK");
	expect(&f, "Hc2", "OK");
	send(&f, "vCont;c");
	buf_reset(rsp_session_output(f.s));
	guest_set_vcpus(f.g, 1);
	input(&f, "\003", 1);
	got = answer(&f);
	ck_assert_str_eq(got, "T02" STOP_1);
	free(got);
	free(ask(&f, "s"));
	ck_assert_int_eq(fake_of(f.g)->actions[0], RUN_STEP);
	fixture_end(&f);
}
END_TEST

/* What the backend refuses is an error: at an empty reply gdb would write into the guest by itself. */
START_TEST(test_refused_breakpoints)
{
	struct fixture f = fixture_new();
	char packet[16];

	fake_of(f.g)->refused = (1u << N_BREAKPOINT_KINDS) - 1;
	for (unsigned kind = 0; kind < N_BREAKPOINT_KINDS; kind++) {
		char *got;

		snprintf(packet, sizeof(packet), "Z%u,5000,1", kind);
		got = ask(&f, packet);
		ck_assert_msg(!strncmp(got, "E.the fake backend has no", 25), "%s", got);
		free(got);
		packet[0] = 'z';
		expect(&f, packet, "OK");
	}
	fixture_end(&f);
}
END_TEST

static const char *const stepping[] = { "s", "S05", "vCont;s:1;c", "vCont;S05", "vCont;r0,1", "vCont;c:1" };

START_TEST(test_backend_without_steps)
{
	struct guest *g = fake_guest_create(2);
	struct guest_ops ops = *g->ops;
	struct fixture f;
	char *got;

	ops.run = NULL;
	ops.set_breakpoint = NULL;
	ops.clear_breakpoint = NULL;
	g->ops = &ops;
	f = fixture_of(g);
	got = ask(&f, stepping[_i]);
	ck_assert_msg(!strncmp(got, "E.the fake backend cannot step", 30), "%s", got);
	free(got);
	got = ask(&f, "Z0,5000,1");
	ck_assert_msg(!strncmp(got, "E.the fake backend cannot set", 29), "%s", got);
	free(got);
	got = ask(&f, "z0,5000,1");
	ck_assert_msg(!strncmp(got, "E.the fake backend cannot clear", 31), "%s", got);
	free(got);
	fixture_end(&f);
}
END_TEST

/* QEMU's flag that holds interrupts back, which is on at first. */
START_TEST(test_sstep_holds_interrupts)
{
	struct fixture f = fixture_new();

	ck_assert(f.g->step_holds_irqs);
	expect(&f, "Qqemu.sstep=5", "OK");
	ck_assert(!f.g->step_holds_irqs);
	expect(&f, "Qqemu.sstep=3", "OK");
	ck_assert(f.g->step_holds_irqs);
	fixture_end(&f);
}
END_TEST

/* ---- letting go ---- */

START_TEST(test_plain_client_ends)
{
	static const char *const packets[] = { "D", "vKill;1", "D;1", "k" };
	struct fixture f = fixture_new();

	send(&f, packets[_i]);
	ck_assert(rsp_session_ended(f.s));
	ck_assert_uint_eq(f.detaches, 0);
	fixture_end(&f);
}
END_TEST

START_TEST(test_extended_client_stays)
{
	struct fixture f = fixture_new();

	expect(&f, "!", "OK");
	expect(&f, "D", "OK");
	ck_assert(!rsp_session_ended(f.s));
	ck_assert_uint_eq(f.detaches, 1);
	expect(&f, "D", "OK");
	ck_assert_uint_eq(f.detaches, 1);
	free(ask(&f, "vAttach;7"));
	send(&f, "k");
	ck_assert_uint_eq(f.detaches, 2);
	fixture_end(&f);
}
END_TEST

/* A session that starts with nothing, and whose guest goes. */
START_TEST(test_guest_comes_and_goes)
{
	struct fixture f = fixture_of(fake_guest_create(2));
	struct buf xml = { 0 };

	rsp_session_destroy(f.s);
	f.s = rsp_session_create(NULL, &(struct rsp_host){ .monitor = monitor, .attach = attach, .detach = detach });
	expect(&f, "!", "OK");
	expect(&f, "?", "W00");
	free(ask(&f, "vAttach;7"));
	fetch(&f, "features:read:target.xml", 0x1000, &xml);
	ck_assert_uint_gt(xml.len, 1000);
	rsp_session_forget_guest(f.s);
	expect(&f, "?", "X09");
	expect(&f, "vCont;c", "E.no guest is attached; gdb's attach PID attaches to that of a VMM");
	free(ask(&f, "vAttach;7"));
	expect(&f, "?", "T05" STOP_1);
	buf_deinit(&xml);
	fixture_end(&f);
}
END_TEST

/* ---- what the guest's system tells ---- */

static bool knows_system(struct os *os)
{
	return os->priv;
}

static struct err *symbol_of(struct os *os, const char *name, uint64_t *ret)
{
	ck_assert_str_eq(name, "_stext");
	*ret = *(uint64_t *)os->priv;
	return *ret ? NULL : err_new(ERR_UNKNOWN, "not in these page tables");
}

START_TEST(test_offsets)
{
	static const struct os_ops ops = { .name = "toy", .detect = knows_system, .symbol = symbol_of };
	static const struct os_ops silent = { .name = "toy", .detect = knows_system };
	struct fixture f = fixture_new();
	uint64_t text = 0xffffffff9a000000;
	struct os os = { .ops = &ops, .guest = f.g, .priv = &text };

	f.g->os = &os;
	expect(&f, "qOffsets", "TextSeg=ffffffff9a000000");
	text = 0;
	expect(&f, "qOffsets", "");
	os.ops = &silent;
	expect(&f, "qOffsets", "");
	os = (struct os){ .ops = &ops, .guest = f.g };
	expect(&f, "qOffsets", "");
	f.g->os = NULL;
	fixture_end(&f);
}
END_TEST

/* ---- long reads ---- */

#define LARGE_BYTES 0x100000u

/* A block of several chunks, with a pattern that crosses from one to the next. */
static struct fixture fixture_large(size_t at, const char *pattern)
{
	const struct mem_block block = { .bytes = LARGE_BYTES };
	struct fixture f = fixture_of(fake_create(&arch_x86_64, ORDER_LITTLE, 1, &block, 1));

	memcpy(fake_at(f.g, at), pattern, strlen(pattern));
	expect(&f, "Qqemu.PhyMemMode:1", "OK");
	return f;
}

static const size_t crossings[] = { 0, 0x3fff8, 0x3fffb, 0x40000, 0x7fffd, LARGE_BYTES - 8 };

START_TEST(test_search_crosses_chunks)
{
	struct fixture f = fixture_large(crossings[_i], "the word");
	char packet[64], want[32];

	snprintf(packet, sizeof(packet), "qSearch:memory:0;%x;the word", LARGE_BYTES);
	snprintf(want, sizeof(want), "1,%zx", crossings[_i]);
	expect(&f, packet, want);
	snprintf(packet, sizeof(packet), "qSearch:memory:0;%zx;the word", crossings[_i] + 7);
	expect(&f, packet, "0");
	snprintf(packet, sizeof(packet), "qSearch:memory:0;%x;the worm", LARGE_BYTES);
	expect(&f, packet, "0");
	fixture_end(&f);
}
END_TEST

/* gdb gives up after a while, and would take a late answer for that to another packet. */
START_TEST(test_long_reads_end)
{
	struct fixture f = fixture_large(0, "x");
	char *got;

	f.s->patience_ms = 0;
	got = ask(&f, "qCRC:0,100000");
	ck_assert_msg(!strncmp(got, "E.this takes too long", 21), "%s", got);
	free(got);
	got = ask(&f, "qSearch:memory:0;100000;y");
	ck_assert_msg(!strncmp(got, "E.this takes too long", 21), "%s", got);
	free(got);
	fixture_end(&f);
}
END_TEST

static void event_gone(struct fixture *f)
{
	const struct guest_event gone = { .kind = GUEST_EVENT_GONE };

	f->g->state = GUEST_GONE;
	rsp_session_event(f->s, &gone);
}

static void assert_polite_when_gone(struct fixture *f)
{
	expect(f, "?", "X09");
	expect(f, "m5000,1", "E03");
	expect(f, "c", "X09");
	expect(f, "vCont;s", "X09");
	ck_assert(!rsp_session_running(f->s));
	expect(f, "qC", "QC1");
	expect(f, "T1", "OK");
	expect(f, "D", "OK");
	ck_assert(rsp_session_ended(f->s));
}

START_TEST(test_gone_while_running)
{
	struct fixture f = fixture_new();

	send(&f, "c");
	buf_reset(rsp_session_output(f.s));
	event_gone(&f);
	ck_assert_str_eq(rsp_session_output(f.s)->data, "$X09#c1");
	buf_reset(rsp_session_output(f.s));
	assert_polite_when_gone(&f);
	fixture_end(&f);
}
END_TEST

START_TEST(test_gone_while_stopped)
{
	struct fixture f = fixture_new();

	event_gone(&f);
	expect_silence(&f);
	assert_polite_when_gone(&f);
	fixture_end(&f);
}
END_TEST

START_TEST(test_reads_fail)
{
	struct fixture f = fixture_new();

	fake_of(f.g)->fail_reads = true;
	expect(&f, "m5000,1", "E03");
	expect(&f, "qSupported:error-message+;", "PacketSize=40000;QStartNoAckMode+;qXfer:features:read+;"
	       "qXfer:memory-map:read+;qXfer:threads:read+;vContSupported+;binary-upload+;swbreak+;hwbreak+;"
	       "QThreadSuffixSupported+;QListThreadsInStopReply+;error-message+");
	expect(&f, "Qqemu.PhyMemMode:1", "OK");
	expect(&f, "m5000,1", "E.the fake VMM has exited");
	fixture_end(&f);
}
END_TEST

/* A dump in the background holds the guest: continue says so. */
START_TEST(test_held_guest)
{
	struct fixture f = fixture_new();
	char *got;

	f.g->holds = 1;
	got = ask(&f, "c");
	ck_assert_int_eq(strncmp(got, "E.a dump", 8), 0);
	ck_assert(!rsp_session_running(f.s));
	f.g->holds = 0;
	free(got);
	fixture_end(&f);
}
END_TEST

/* ---- monitor ---- */

START_TEST(test_monitor_ends_later)
{
	struct fixture f = fixture_new();

	expect(&f, "QStartNoAckMode", "OK");
	send(&f, "qRcmd,77616974"); /* wait */
	ck_assert(rsp_session_in_monitor(f.s));
	send(&f, "qC");
	rsp_session_input(f.s, "\003", 1);
	expect_silence(&f);
	rsp_session_console(f.s, "a\0*", 3);
	ck_assert_str_eq(rsp_session_output(f.s)->data, "$O61002a#a9");
	buf_reset(rsp_session_output(f.s));
	rsp_session_monitor_done(f.s, NULL);
	ck_assert(!rsp_session_in_monitor(f.s));
	ck_assert_str_eq(rsp_session_output(f.s)->data, "$OK#9a$QC1#c5");
	buf_reset(rsp_session_output(f.s));
	rsp_session_console(f.s, "late", 4);
	expect_silence(&f);
	fixture_end(&f);
}
END_TEST

START_TEST(test_long_output)
{
	struct fixture f = fixture_new();
	const size_t bytes = PACKET_MAX_BYTES + 5;
	char *text = xcalloc(1, bytes);
	struct cursor c;
	size_t got = 0;

	send(&f, "qRcmd,77616974");
	buf_reset(rsp_session_output(f.s));
	rsp_session_console(f.s, text, bytes);
	c = cursor_of(rsp_session_output(f.s)->data, rsp_session_output(f.s)->len);
	while (!cursor_at_end(&c)) {
		char *payload = take_frame(&c);

		ck_assert_int_eq(payload[0], 'O');
		ck_assert_uint_le(strlen(payload), PACKET_MAX_BYTES);
		got += (strlen(payload) - 1) / 2;
		free(payload);
	}
	ck_assert_uint_eq(got, bytes);
	rsp_session_monitor_done(f.s, NULL);
	free(text);
	fixture_end(&f);
}
END_TEST

/* ---- the command table and docs/protocol.md ---- */

START_TEST(test_table_finds_each)
{
	const struct rsp_command *cmd;

	for (size_t i = 0; (cmd = rsp_command_nth(i)); i++) {
		struct cursor args;

		ck_assert_ptr_eq(rsp_command_find(cmd->name, strlen(cmd->name), &args), cmd);
		ck_assert(cursor_at_end(&args));
	}
}
END_TEST

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static void read_file(const char *path, struct buf *ret)
{
	FILE *file = fopen(path, "r");
	size_t n;

	ck_assert_ptr_nonnull(file);
	do {
		char piece[4096];

		n = fread(piece, 1, sizeof(piece), file);
		buf_add(ret, piece, n);
	} while (n);
	fclose(file);
}

/* Names stand in the first column, in rows that start with "| `". */
START_TEST(test_table_is_documented)
{
	const struct rsp_command *cmd;
	struct buf doc = { 0 };
	size_t n = 0;

	read_file("docs/protocol.md", &doc);
	for (; (cmd = rsp_command_nth(n)); n++) {
		char row[64];

		snprintf(row, sizeof(row), "\n| `%s` |", cmd->name);
		ck_assert_msg(count(buf_str(&doc), row) == 1, "%s is not documented once", cmd->name);
	}
	ck_assert_uint_eq(count(buf_str(&doc), "\n| `"), n);
	buf_deinit(&doc);
}
END_TEST

static TCase *framing_case(void)
{
	TCase *tc = tcase_create("framing");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_raw, 0, ARRAY_LEN(raw_cases));
	tcase_add_loop_test(tc, test_transcript, 0, ARRAY_LEN(transcripts));
	tcase_add_test(tc, test_longest_packet);
	tcase_add_test(tc, test_binary_round_trip);
	tcase_add_loop_test(tc, test_runs, 0, ARRAY_LEN(DIGITS));
	return tc;
}

static TCase *registers_case(void)
{
	TCase *tc = tcase_create("registers");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_g, 0, 2);
	tcase_add_test(tc, test_G_leaves_x_alone);
	tcase_add_loop_test(tc, test_G_malformed, 0, 4);
	tcase_add_loop_test(tc, test_p_P, 0, X86_N_REGS);
	tcase_add_test(tc, test_target_xml);
	tcase_add_test(tc, test_layout_is_fixed);
	tcase_add_test(tc, test_layout_without_avx);
	return tc;
}

static TCase *run_case(void)
{
	TCase *tc = tcase_create("run");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_interrupt_of_a_range);
	tcase_add_loop_test(tc, test_plans, 0, ARRAY_LEN(plans));
	tcase_add_test(tc, test_vcpu_that_goes);
	tcase_add_test(tc, test_refused_breakpoints);
	tcase_add_loop_test(tc, test_backend_without_steps, 0, ARRAY_LEN(stepping));
	tcase_add_test(tc, test_sstep_holds_interrupts);
	tcase_add_loop_test(tc, test_plain_client_ends, 0, 4);
	tcase_add_test(tc, test_extended_client_stays);
	tcase_add_test(tc, test_guest_comes_and_goes);
	return tc;
}

static TCase *session_case(void)
{
	TCase *tc = tcase_create("session");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_memory_map_to_the_end);
	tcase_add_test(tc, test_many_threads);
	tcase_add_test(tc, test_packets_wait_for_the_stop);
	tcase_add_test(tc, test_interrupt_stops_once);
	tcase_add_test(tc, test_flood_while_running);
	tcase_add_test(tc, test_flood_of_packets);
	tcase_add_test(tc, test_flood_of_nacks);
	tcase_add_test(tc, test_offsets);
	tcase_add_loop_test(tc, test_search_crosses_chunks, 0, ARRAY_LEN(crossings));
	tcase_add_test(tc, test_long_reads_end);
	tcase_add_test(tc, test_gone_while_running);
	tcase_add_test(tc, test_gone_while_stopped);
	tcase_add_test(tc, test_reads_fail);
	tcase_add_test(tc, test_held_guest);
	tcase_add_test(tc, test_monitor_ends_later);
	tcase_add_test(tc, test_long_output);
	tcase_add_test(tc, test_table_finds_each);
	tcase_add_test(tc, test_table_is_documented);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("rsp");

	suite_add_tcase(suite, framing_case());
	suite_add_tcase(suite, registers_case());
	suite_add_tcase(suite, run_case());
	suite_add_tcase(suite, session_case());
	return suite_run(suite);
}
