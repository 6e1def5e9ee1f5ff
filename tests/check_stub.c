/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "arch/ppc64/ppc64.h"
#include "base/alloc.h"
#include "base/packet.h"
#include "guest/stub.h"
#include "guest/tdesc.h"
#include "tests/suite.h"
#include "tests/toy_arch.h"

/* Of a stub that answers, and of one that does not. */
#define LONG_MS 4000u
#define SHORT_MS 150u

/* ---- a stub made of rules ---- */

struct rule {
	const char *request, *answer;
	const char *raw; /* what is sent instead of a packet with the answer; NULL: that */
};

struct document {
	const char *annex, *text;
};

enum {
	BY_BYTES = 1,       /* sends one byte at a time */
	STOPS = 2,          /* says stop replies before each answer */
	NACKS_ONCE = 4,     /* takes no request the first time */
	BREAKS_ONCE = 8,    /* damages each answer the first time */
	NACKS_ALWAYS = 16,
	BREAKS_ALWAYS = 32,
	FLOODS = 64,        /* never ends to send acknowledgements */
};

/* Of several rules for one request each is used once, the last for ever. */
struct script {
	unsigned how;
	struct rule rules[48];
	struct document documents[8];
	size_t piece_bytes; /* of a document; 0: as much as is asked */
};

struct fake {
	const struct script *script;
	int fd;
	pthread_t thread;
	unsigned used[48];
	struct buf log; /* requests, a line each */
	unsigned acks, nacks;
};

static unsigned sum_of(const char *text, size_t bytes)
{
	unsigned sum = 0;

	for (size_t i = 0; i < bytes; i++)
		sum += (unsigned char)text[i];
	return sum & 0xff;
}

static void put(struct fake *f, const char *data, size_t bytes)
{
	size_t piece = f->script->how & BY_BYTES ? 1 : bytes;

	for (size_t at = 0; at < bytes; at += piece)
		if (send(f->fd, data + at, MIN(piece, bytes - at), MSG_NOSIGNAL) < 0)
			return;
}

/* The payload is sent as it is: escaped already. */
static void put_packet(struct fake *f, const char *payload, size_t bytes, unsigned off_by)
{
	struct buf b = { 0 };

	buf_addch(&b, '$');
	buf_add(&b, payload, bytes);
	buf_addf(&b, "#%02x", (sum_of(payload, bytes) + off_by) & 0xff);
	put(f, b.data, b.len);
	buf_deinit(&b);
}

static void put_string(struct fake *f, const char *payload)
{
	put_packet(f, payload, strlen(payload), 0);
}

static int get_byte(struct fake *f)
{
	unsigned char ch;

	return recv(f->fd, &ch, 1, 0) == 1 ? ch : -1;
}

/* The next request; false at the end of the connection. */
static bool get_request(struct fake *f, struct buf *ret)
{
	int ch;

	buf_reset(ret);
	while ((ch = get_byte(f)) != '$') {
		if (ch < 0)
			return false;
		f->acks += ch == '+';
		f->nacks += ch == '-';
	}
	while ((ch = get_byte(f)) != '#') {
		if (ch < 0)
			return false;
		buf_addch(ret, (char)ch);
	}
	return get_byte(f) >= 0 && get_byte(f) >= 0;
}

/* A client that finds an answer damaged says '-' and no '$'. */
static bool got_nack(struct fake *f)
{
	int ch = get_byte(f);

	f->acks += ch == '+';
	f->nacks += ch == '-';
	return ch == '-';
}

static void answer(struct fake *f, const char *payload, size_t bytes)
{
	if (f->script->how & STOPS) {
		put_string(f, "T02thread:01;");
		put_string(f, "S05");
		put_string(f, "O4f4b");
	}
	while (f->script->how & (BREAKS_ONCE | BREAKS_ALWAYS)) {
		put_packet(f, payload, bytes, 1);
		if (!got_nack(f))
			return;
		if (f->script->how & BREAKS_ONCE)
			break;
	}
	put_packet(f, payload, bytes, 0);
}

/* "qXfer:features:read:ANNEX:OFFSET,LENGTH" */
static bool answer_document(struct fake *f, const char *request)
{
	char annex[64];
	unsigned offset, length;
	struct buf b = { 0 };

	if (sscanf(request, "qXfer:features:read:%63[^:]:%x,%x", annex, &offset, &length) != 3)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(f->script->documents) && f->script->documents[i].annex; i++) {
		const char *text = f->script->documents[i].text;
		size_t left = strlen(text) - MIN(strlen(text), (size_t)offset), piece = MIN(left, length);

		if (strcmp(f->script->documents[i].annex, annex) != 0)
			continue;
		if (f->script->piece_bytes)
			piece = MIN(piece, f->script->piece_bytes);
		buf_addch(&b, piece < left ? 'm' : 'l');
		for (const char *p = text + offset; p < text + offset + piece; p++) {
			bool escape = strchr("#$}*", *p) != NULL;

			if (escape)
				buf_addch(&b, '}');
			buf_addch(&b, (char)(escape ? *p ^ 0x20 : *p));
		}
	}
	if (!b.len)
		buf_adds(&b, "E00");
	answer(f, b.data, b.len);
	buf_deinit(&b);
	return true;
}

static const struct rule *find_rule(struct fake *f, const char *request)
{
	const struct rule *found = NULL;

	for (size_t i = 0; i < ARRAY_LEN(f->script->rules) && f->script->rules[i].request; i++) {
		if (strcmp(f->script->rules[i].request, request) != 0)
			continue;
		found = &f->script->rules[i];
		if (!f->used[i]++)
			break;
	}
	return found;
}

static void serve_request(struct fake *f, const char *request)
{
	const struct rule *rule = find_rule(f, request);

	put(f, "+", 1);
	if (rule && rule->raw)
		put(f, rule->raw, strlen(rule->raw));
	else if (rule)
		answer(f, rule->answer, strlen(rule->answer));
	else if (!answer_document(f, request))
		answer(f, "", 0);
}

static void flood(struct fake *f)
{
	while (send(f->fd, "++++++++", 8, MSG_NOSIGNAL) > 0)
		;
}

static void *run_fake(void *arg)
{
	struct fake *f = arg;
	struct buf request = { 0 };
	unsigned seen = 0;

	while (get_request(f, &request)) {
		seen++;
		if (f->script->how & FLOODS)
			flood(f);
		if (f->script->how & NACKS_ALWAYS || (f->script->how & NACKS_ONCE && seen % 2)) {
			put(f, "-", 1);
			continue;
		}
		buf_addf(&f->log, "%s\n", buf_str(&request));
		serve_request(f, buf_str(&request));
	}
	buf_deinit(&request);
	close(f->fd);
	return NULL;
}

/* The client's end of it. */
static int fake_start(struct fake *f, const struct script *script)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	*f = (struct fake){ .script = script, .fd = pair[1] };
	ck_assert_int_eq(fcntl(f->fd, F_SETFL, 0), 0);
	ck_assert_int_eq(pthread_create(&f->thread, NULL, run_fake, f), 0);
	return pair[0];
}

/* Until the client has closed; then the log may be looked at. */
static void fake_join(struct fake *f)
{
	pthread_join(f->thread, NULL);
}

static void fake_end(struct fake *f)
{
	fake_join(f);
	buf_deinit(&f->log);
}

/* ---- helpers ---- */

static void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

static void expect_error(struct err *e, enum err_code code, const char *text)
{
	ck_assert_msg(e && err_code(e) == code && strstr(err_text(e), text), "%s (%d)",
		      e ? err_text(e) : "it succeeds", e ? (int)err_code(e) : -1);
	err_destroy(e);
}

/* A stub of this script, mapped onto an architecture. */
static struct stub *open_mapped(struct fake *f, const struct script *script, const struct arch *arch)
{
	struct stub *s;

	ok(stub_open(fake_start(f, script), "fake", LONG_MS, &s));
	ok(stub_map_registers(s, arch));
	return s;
}

static void close_all(struct stub *s, struct fake *f)
{
	stub_close(s, false);
	fake_end(f);
}

#define HELLO \
	{ "qSupported", "PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+", NULL }, \
	{ "qfThreadInfo", "m01", NULL }, { "qsThreadInfo", "m02", NULL }, { "qsThreadInfo", "l", NULL }, \
	{ "Hg01", "OK", NULL }, { "Hg02", "OK", NULL }, { "D", "OK", NULL }

#define TOY_XML \
	"<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">" \
	"<target><architecture>toy</architecture><feature name=\"org.vmgdbserver.toy\">" \
	"<reg name=\"pc\" bitsize=\"64\"/><reg name=\"sp\" bitsize=\"64\" regnum=\"9\"/></feature></target>"

/* ---- packets ---- */

struct run_case {
	const char *text, *expanded; /* NULL: malformed */
};

/* "Overview" of gdb's remote protocol: '*' and a character of the count plus 29. */
static const struct run_case RUNS[] = {
	{ "", "" }, { "abc", "abc" }, { "0* ", "0000" }, { "a0* b", "a0000b" }, { "0*\"", "000000" },
	{ "x*~", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" },
	{ "*", NULL }, { "* ", NULL }, { "0*", NULL }, { "0*\x1f", NULL }, { "0*\x01", NULL },
};

START_TEST(test_run_lengths)
{
	const struct run_case *c = &RUNS[_i];
	struct buf out = { 0 };

	ck_assert_int_eq(packet_expand(c->text, strlen(c->text), &out), c->expanded != NULL);
	if (c->expanded)
		ck_assert_str_eq(buf_str(&out), c->expanded);
	buf_deinit(&out);
}
END_TEST

/* One that would need more than a packet may have. */
START_TEST(test_run_lengths_bound)
{
	struct buf in = { 0 }, out = { 0 };

	buf_addch(&in, '0');
	while (in.len < PACKET_MAX_BYTES)
		buf_adds(&in, "*~");
	ck_assert(!packet_expand(in.data, in.len, &out));
	ck_assert_uint_le(out.len, PACKET_MAX_BYTES + 100);
	buf_deinit(&in);
	buf_deinit(&out);
}
END_TEST

/* ---- target descriptions ---- */

static struct err *fetch_text(void *arg, const char *annex, struct buf *ret)
{
	const struct document *d = arg;

	for (; d->annex; d++) {
		if (!strcmp(d->annex, annex)) {
			buf_adds(ret, d->text);
			return NULL;
		}
	}
	return err_new(ERR_UNSUPPORTED, "no %s", annex);
}

START_TEST(test_tdesc)
{
	static struct document documents[] = {
		/* As QEMU writes it: no namespace is declared. */
		{ "target.xml", "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
				"<architecture>s390:64-bit</architecture><reg name=\"lost\" bitsize=\"8\"/>"
				"<xi:include href=\"a.xml\"/><xi:include href=\"b.xml\"/></target>" },
		{ "a.xml", "<?xml version=\"1.0\"?>\n<!-- <reg name=\"no\" bitsize=\"1\"/> -->\n"
			   "<!DOCTYPE feature SYSTEM \"gdb-target.dtd\">\n<feature name=\"one\">\n"
			   "<flags id=\"f\" size=\"4\"><field name=\"A\" start=\"0\" end=\"0\"/></flags>"
			   "<reg name=\"a\" bitsize=\"64\" regnum='64' type=\"int\"/><reg name=\"b\" bitsize=\"32\"/>"
			   "</feature>" },
		{ "b.xml", "<feature name=\"t&amp;wo\"><xi:include href=\"c.xml\"/>"
			   "<reg name=\"d\" bitsize=\"0x80\" regnum=\"5\"/></feature>" },
		{ "c.xml", "<reg name=\"c\" bitsize=\"1\"/>" },
		{ NULL, NULL },
	};
	static const struct tdesc_reg want[] = {
		{ (char *)"lost", (char *)"", 8, 0 }, { (char *)"a", (char *)"one", 64, 64 },
		{ (char *)"b", (char *)"one", 32, 65 }, { (char *)"c", (char *)"t&wo", 1, 66 },
		{ (char *)"d", (char *)"t&wo", 128, 5 },
	};
	struct tdesc t;

	ok(tdesc_read(fetch_text, documents, &t));
	ck_assert_str_eq(t.architecture, "s390:64-bit");
	ck_assert_uint_eq(t.n_regs, ARRAY_LEN(want));
	for (size_t i = 0; i < t.n_regs; i++) {
		ck_assert_str_eq(t.regs[i].name, want[i].name);
		ck_assert_str_eq(t.regs[i].feature, want[i].feature);
		ck_assert_uint_eq(t.regs[i].bits, want[i].bits);
		ck_assert_uint_eq(t.regs[i].regnum, want[i].regnum);
	}
	tdesc_deinit(&t);
}
END_TEST

struct bad_tdesc {
	struct document documents[3];
	enum err_code code;
	const char *text;
};

static const struct bad_tdesc BAD_TDESCS[] = {
	{ { { "target.xml", "" } }, ERR_INVALID, "target.xml line 1" },
	{ { { "target.xml", "<target>" } }, ERR_INVALID, "target.xml line 1" },
	{ { { "target.xml", "<target>\n<reg name=\"a\"/></target>" } }, ERR_INVALID, "target.xml line 2: a register without a bitsize" },
	{ { { "target.xml", "<target><reg bitsize=\"8\"/></target>" } }, ERR_INVALID, "without a name" },
	{ { { "target.xml", "<t><reg name=\"\" bitsize=\"8\"/></t>" } }, ERR_INVALID, "without a name" },
	{ { { "target.xml", "<t><reg name=\"a\" bitsize=\"0\"/></t>" } }, ERR_INVALID, "bitsize" },
	{ { { "target.xml", "<t><reg name=\"a\" bitsize=\"-8\"/></t>" } }, ERR_INVALID, "bitsize" },
	{ { { "target.xml", "<t><reg name=\"a\" bitsize=\"65537\"/></t>" } }, ERR_INVALID, "bitsize" },
	{ { { "target.xml", "<t><reg name=\"a\" bitsize=\"8\" regnum=\"x\"/></t>" } }, ERR_INVALID, "regnum" },
	{ { { "target.xml", "<t><reg name=\"a\" bitsize=\"8\" regnum=\"4294967296\"/></t>" } }, ERR_INVALID, "regnum" },
	{ { { "target.xml", "<t><reg name=\"a\" bitsize=\"8\" regnum=\"2147483647\"/>"
			    "<reg name=\"b\" bitsize=\"8\"/></t>" } }, ERR_INVALID, "regnum" },
	{ { { "target.xml", "<t><xi:include/></t>" } }, ERR_INVALID, "include of nothing" },
	{ { { "target.xml", "<t><xi:include href=\"b.xml\"/></t>" } }, ERR_UNSUPPORTED, "no b.xml" },
	{ { { "target.xml", "<t><xi:include href=\"target.xml\"/></t>" } }, ERR_INVALID, "too deeply" },
	{ { { "target.xml", "<t>\n<xi:include href=\"b.xml\"/></t>" }, { "b.xml", "<feature>\n\n<reg></feature>" } },
	  ERR_INVALID, "b.xml line 3" },
	{ { { "target.xml", "<!DOCTYPE t [<!ENTITY a \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\">"
			    "<!ENTITY b \"&a;&a;&a;&a;&a;\">]><t><architecture>&b;</architecture></t>" } },
	  ERR_INVALID, "too long" },
};

START_TEST(test_bad_tdesc)
{
	const struct bad_tdesc *c = &BAD_TDESCS[_i];
	struct tdesc t;

	expect_error(tdesc_read(fetch_text, (void *)c->documents, &t), c->code, c->text);
}
END_TEST

START_TEST(test_too_many_regs)
{
	struct buf text = { 0 };
	struct document documents[2] = { { "target.xml", NULL } };
	struct tdesc t;

	buf_adds(&text, "<t>");
	for (unsigned i = 0; i < TDESC_MAX_REGS + 1; i++)
		buf_adds(&text, "<reg name=\"a\" bitsize=\"8\"/>");
	buf_adds(&text, "</t>");
	documents[0].text = text.data;
	expect_error(tdesc_read(fetch_text, documents, &t), ERR_INVALID, "too many");
	buf_deinit(&text);
}
END_TEST

/* ---- connecting ---- */

static const struct script TOY = {
	.rules = { HELLO, { "p0", "8877665544332211", NULL }, { "p9", "0102030405060708", NULL } },
	.documents = { { "target.xml", TOY_XML } },
};

/* Whatever way the bytes take, every call says the same. */
START_TEST(test_ways)
{
	static const unsigned hows[] = { 0, BY_BYTES, STOPS, STOPS | BY_BYTES };
	struct script script = TOY;
	struct regs *regs = regs_create(&toy64, ORDER_LITTLE);
	struct fake f;
	struct stub *s;
	uint64_t value;

	script.how = hows[_i];
	script.piece_bytes = 11;
	s = open_mapped(&f, &script, &toy64);
	ck_assert_uint_eq(stub_vcpus(s), 2);
	ok(stub_read_regs(s, 1, regs));
	ck_assert(regs_get(regs, TOY_PC, &value) && value == 0x1122334455667788);
	ck_assert(regs_get(regs, TOY_SP, &value) && value == 0x0807060504030201);
	stub_close(s, true);
	fake_join(&f);
	ck_assert_ptr_nonnull(strstr(f.log.data, "Hg02\np0\np9\nD\n"));
	buf_deinit(&f.log);
	regs_destroy(regs);
}
END_TEST

/* A question is asked again; of several at once none can be. */
START_TEST(test_damage)
{
	static const unsigned hows[] = { NACKS_ONCE, BREAKS_ONCE, STOPS | NACKS_ONCE | BY_BYTES };
	struct regs *regs = regs_create(&toy64, ORDER_LITTLE);
	struct script script = TOY;
	struct fake f;
	struct stub *s;

	script.how = hows[_i];
	script.piece_bytes = 11;
	s = open_mapped(&f, &script, &toy64);
	ck_assert_uint_eq(stub_vcpus(s), 2);
	expect_error(stub_read_regs(s, 1, regs), ERR_INVALID, "damaged");
	expect_error(stub_read_regs(s, 1, regs), ERR_GONE, "given up");
	close_all(s, &f);
	regs_destroy(regs);
}
END_TEST

/*
 * A stub takes a byte from its client while the guest runs for a demand to
 * pause; an acknowledgement of what has none is such a byte.
 */
START_TEST(test_acknowledgements)
{
	struct script script = TOY;
	struct fake f;

	script.how = _i ? STOPS : 0;
	stub_close(open_mapped(&f, &script, &toy64), _i);
	fake_join(&f);
	/* qSupported, three for the threads, the description, D. */
	ck_assert_uint_eq(f.acks, _i ? 6 : 5);
	ck_assert_uint_eq(f.nacks, 0);
	ck_assert_int_eq(strstr(f.log.data, "D\n") != NULL, _i);
	buf_deinit(&f.log);
}
END_TEST

struct bad_open {
	struct script script;
	unsigned timeout_ms;
	enum err_code code;
	const char *text;
};

#define FEATURES { "qSupported", "PacketSize=1000", NULL }
#define THREADS(text) { .rules = { FEATURES, { "qfThreadInfo", text, NULL } } }

static const struct bad_open BAD_OPENS[] = {
	{ { .rules = { { "qSupported", "", "" } } }, SHORT_MS, ERR_TIMEOUT, "no answer" },
	{ { .rules = { { "qSupported", "", "$Packet" } } }, SHORT_MS, ERR_TIMEOUT, "no answer" },
	{ { .rules = { { "qSupported", "", "QEMU monitor\n(qemu) " } } }, SHORT_MS, ERR_TIMEOUT, "no answer" },
	{ { .rules = { { "qSupported", "", "$0*\x01#5b" } } }, LONG_MS, ERR_INVALID, "run lengths" },
	{ { .rules = { { "qSupported", "PacketSize=", NULL } } }, LONG_MS, ERR_INVALID, "qSupported" },
	{ { .rules = { { "qSupported", "a+;PacketSize=7f;b-", NULL } } }, LONG_MS, ERR_INVALID, "qSupported" },
	{ { .rules = { { "qSupported", "PacketSize=1000x", NULL } } }, LONG_MS, ERR_INVALID, "qSupported" },
	{ THREADS("l"), LONG_MS, ERR_INVALID, "no threads" },
	{ THREADS(""), LONG_MS, ERR_INVALID, "threads" },
	{ THREADS("m"), LONG_MS, ERR_INVALID, "threads" },
	{ THREADS("m1,"), LONG_MS, ERR_INVALID, "threads" },
	{ THREADS("m1,x"), LONG_MS, ERR_INVALID, "threads" },
	{ THREADS("m-1"), LONG_MS, ERR_INVALID, "threads" },
	{ THREADS("mp1"), LONG_MS, ERR_INVALID, "threads" },
	{ THREADS("m00000000000000000000000000000000001"), LONG_MS, ERR_INVALID, "threads" },
	{ THREADS("E01"), LONG_MS, ERR_INVALID, "threads" },
	{ { .how = NACKS_ALWAYS }, LONG_MS, ERR_INVALID, "damaged" },
	{ { .how = BREAKS_ALWAYS, .rules = { FEATURES } }, LONG_MS, ERR_INVALID, "damaged" },
	{ { .how = FLOODS }, SHORT_MS, ERR_TIMEOUT, "no answer" },
};

START_TEST(test_bad_open)
{
	const struct bad_open *c = &BAD_OPENS[_i];
	struct fake f;
	struct stub *s;

	expect_error(stub_open(fake_start(&f, &c->script), "fake", c->timeout_ms, &s), c->code, c->text);
	fake_end(&f);
}
END_TEST

/* Lists in several packets, with processes and without. */
START_TEST(test_threads)
{
	static const struct script script = {
		.rules = {
			{ "qSupported", "", NULL }, { "qfThreadInfo", "m01,p01.02", NULL },
			{ "qsThreadInfo", "mp02.1f", NULL }, { "qsThreadInfo", "m3,4", NULL },
			{ "qsThreadInfo", "l", NULL }, { "Hgp02.1f", "OK", NULL }, { "Hg4", "E22", NULL },
			{ "p0", "8877665544332211", NULL }, { "p9", "xxxxxxxxxxxxxxxx", NULL },
		},
		.documents = { { "target.xml", TOY_XML } },
	};
	struct regs *regs = regs_create(&toy64, ORDER_LITTLE);
	struct fake f;
	struct stub *s = open_mapped(&f, &script, &toy64);

	ck_assert_uint_eq(stub_vcpus(s), 5);
	ok(stub_read_regs(s, 2, regs));
	ck_assert(regs->valid[TOY_PC] && !regs->valid[TOY_SP]);
	expect_error(stub_read_regs(s, 4, regs), ERR_INVALID, "thread 4");
	close_all(s, &f);
	regs_destroy(regs);
}
END_TEST

/* What is said after a time-out may be the late answer: nothing is asked any more. */
START_TEST(test_after_time_out)
{
	struct script script = TOY;
	struct regs *regs = regs_create(&toy64, ORDER_LITTLE);
	struct fake f;
	struct stub *s;

	script.rules[ARRAY_LEN(script.rules) - 1] = (struct rule){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(script.rules); i++)
		if (script.rules[i].request && !strcmp(script.rules[i].request, "p9"))
			script.rules[i].raw = "$01020304";
	ok(stub_open(fake_start(&f, &script), "fake", 1000, &s));
	ok(stub_map_registers(s, &toy64));
	expect_error(stub_read_regs(s, 0, regs), ERR_TIMEOUT, "the registers of vCPU 0: the gdb stub at fake");
	expect_error(stub_read_regs(s, 0, regs), ERR_GONE, "earlier error");
	close_all(s, &f);
	regs_destroy(regs);
}
END_TEST

START_TEST(test_end_of_connection)
{
	struct script script = TOY;
	struct regs *regs = regs_create(&toy64, ORDER_LITTLE);
	struct guest_event event;
	struct fake f;
	struct stub *s = open_mapped(&f, &script, &toy64);

	shutdown(f.fd, SHUT_RDWR);
	if (_i)
		expect_error(stub_read_regs(s, 0, regs), ERR_GONE, "closed");
	else
		expect_error(stub_poll(s, &event), ERR_GONE, "closed");
	close_all(s, &f);
	regs_destroy(regs);
}
END_TEST

/* ---- addresses ---- */

/* Says that there is one vCPU to the first client. */
static void *serve_one(void *arg)
{
	static const struct script script = { .rules = { FEATURES, { "qfThreadInfo", "m1", NULL },
							 { "qsThreadInfo", "l", NULL } } };
	struct fake f = { .script = &script, .fd = accept(*(int *)arg, NULL, NULL) };

	if (f.fd >= 0)
		run_fake(&f);
	buf_deinit(&f.log);
	return NULL;
}

static void expect_connection(int listener, const char *address)
{
	pthread_t thread;
	struct stub *s;

	ck_assert_int_eq(pthread_create(&thread, NULL, serve_one, &listener), 0);
	ok(stub_connect(address, &s));
	ck_assert_uint_eq(stub_vcpus(s), 1);
	stub_close(s, false);
	pthread_join(thread, NULL);
}

START_TEST(test_unix_address)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct buf address = { 0 };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), waiting;
	char dir[] = "/tmp/check_stub.XXXXXX";
	struct stub *s;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/gdb:1", dir);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(listener, 0), 0);
	expect_connection(listener, addr.sun_path);
	buf_addf(&address, "unix:%s", addr.sun_path);
	expect_connection(listener, address.data);

	waiting = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(waiting, (struct sockaddr *)&addr, sizeof(addr)), 0);
	expect_error(stub_connect(address.data, &s), ERR_BUSY, addr.sun_path);
	close(waiting);
	close(listener);
	expect_error(stub_connect(address.data, &s), ERR_SYSTEM, strerror(ECONNREFUSED));
	unlink(addr.sun_path);
	expect_error(stub_connect(address.data, &s), ERR_SYSTEM, strerror(ENOENT));
	rmdir(dir);
	buf_deinit(&address);
}
END_TEST

START_TEST(test_tcp_address)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(addr);
	struct buf address = { 0 };
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&addr, &bytes), 0);
	buf_addf(&address, "%s127.0.0.1:%u", _i ? "tcp:" : "", ntohs(addr.sin_port));
	expect_connection(listener, address.data);
	buf_deinit(&address);
	close(listener);
}
END_TEST

struct bad_address {
	const char *address;
	enum err_code code;
};

static const struct bad_address BAD_ADDRESSES[] = {
	{ "tcp:", ERR_USAGE }, { "tcp:1234", ERR_USAGE }, { ":1234", ERR_USAGE }, { "localhost:", ERR_USAGE },
	{ "127.0.0.1:no-such-service", ERR_USAGE }, { "127.0.0.1:1", ERR_SYSTEM }, { "[::1:1", ERR_USAGE },
	{ "/no/such/socket", ERR_SYSTEM }, { "unix:", ERR_SYSTEM }, { "no-such-socket", ERR_SYSTEM },
	{ "/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	  "0123456789", ERR_USAGE },
};

START_TEST(test_bad_address)
{
	const struct bad_address *c = &BAD_ADDRESSES[_i];
	struct stub *s;

	expect_error(stub_connect(c->address, &s), c->code, c->address);
}
END_TEST

/* ---- stop replies ---- */

struct stop_case {
	const char *payload;
	struct guest_event event;
};

static const struct stop_case STOP_CASES[] = {
	{ "T05thread:02;", { .kind = GUEST_EVENT_STOPPED, .vcpu = 1, .signal = 5 } },
	{ "T02core:1;thread:01;", { .kind = GUEST_EVENT_STOPPED, .vcpu = 0, .signal = 2 } },
	{ "T05thread:02;watch:0000000000001000;",
	  { .kind = GUEST_EVENT_STOPPED, .vcpu = 1, .signal = 5, .cause = STOP_BREAKPOINT, .breakpoint = WATCHPOINT_WRITE,
	    .gva = 0x1000 } },
	{ "T05rwatch:ffffffff81000004;thread:02;",
	  { .kind = GUEST_EVENT_STOPPED, .vcpu = 1, .signal = 5, .cause = STOP_BREAKPOINT, .breakpoint = WATCHPOINT_READ,
	    .gva = 0xffffffff81000004 } },
	{ "T05thread:01;awatch:8;",
	  { .kind = GUEST_EVENT_STOPPED, .signal = 5, .cause = STOP_BREAKPOINT, .breakpoint = WATCHPOINT_ACCESS, .gva = 8 } },
	{ "T05thread:01;swbreak:;",
	  { .kind = GUEST_EVENT_STOPPED, .signal = 5, .cause = STOP_BREAKPOINT, .breakpoint = BREAKPOINT_SOFTWARE } },
	{ "T05thread:02;hwbreak:;",
	  { .kind = GUEST_EVENT_STOPPED, .vcpu = 1, .signal = 5, .cause = STOP_BREAKPOINT,
	    .breakpoint = BREAKPOINT_HARDWARE } },
	{ "T05thread:07;", { .kind = GUEST_EVENT_STOPPED, .vcpu = 0, .signal = 5 } },
	{ "S0b", { .kind = GUEST_EVENT_STOPPED, .vcpu = 0, .signal = 11 } },
	{ "W00", { .kind = GUEST_EVENT_GONE, .vcpu = 0, .signal = 0 } },
	{ "X09;process:1", { .kind = GUEST_EVENT_GONE, .vcpu = 0, .signal = 9 } },
	{ "O4142", { .kind = GUEST_EVENT_NONE } },
	{ "OK", { .kind = GUEST_EVENT_NONE } },
	{ "", { .kind = GUEST_EVENT_NONE } },
	{ "T", { .kind = GUEST_EVENT_NONE } },
};

START_TEST(test_stop_reply)
{
	const struct stop_case *c = &STOP_CASES[_i];
	struct guest_event event = { .kind = GUEST_EVENT_GONE, .vcpu = 9, .signal = 9 };
	struct fake f;
	struct stub *s = open_mapped(&f, &TOY, &toy64);
	struct pollfd p = { .fd = stub_fd(s), .events = POLLIN };

	ok(stub_poll(s, &event));
	ck_assert_int_eq(event.kind, GUEST_EVENT_NONE);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	put_string(&f, "T05thread:01;");
	put_packet(&f, "T05thread:01;", 13, 1);
	if (c->event.kind == GUEST_EVENT_NONE)
		ok(stub_poll(s, &event));
	put_string(&f, c->payload);
	ok(stub_poll(s, &event));
	ck_assert_int_eq(event.kind, c->event.kind);
	ck_assert_uint_eq(event.vcpu, c->event.vcpu);
	ck_assert_int_eq(event.signal, c->event.signal);
	ck_assert_int_eq(event.cause, c->event.cause);
	ck_assert_int_eq(event.breakpoint, c->event.breakpoint);
	ck_assert_uint_eq(event.gva, c->event.gva);
	close_all(s, &f);
}
END_TEST

/* ---- run control ---- */

struct control_case {
	enum run_action actions[2];
	const char *requests;
};

static const struct control_case RUN_CASES[] = {
	{ { RUN_CONTINUE, RUN_CONTINUE }, "vCont;c\n" },
	{ { RUN_HOLD, RUN_CONTINUE }, "vCont;c:02\n" },
	{ { RUN_STEP, RUN_HOLD }, "Hc01\nvCont;s:01\n" },
	{ { RUN_CONTINUE, RUN_STEP }, "Hc02\nvCont;s:02;c\n" },
	{ { RUN_STEP, RUN_STEP }, "Hc01\nHc02\nvCont;s:01;s:02;c\n" },
};

#define PLUS(request) { request, NULL, "" }

static const struct script CONTROL = {
	.rules = { HELLO, { "Hc01", "OK", NULL }, { "Hc02", "OK", NULL }, PLUS("vCont;c"), PLUS("vCont;c:02"),
		   PLUS("vCont;s:01"), PLUS("vCont;s:02;c"), PLUS("vCont;s:01;s:02;c"), PLUS("?"),
		   { "qC", "QC01", NULL }, { "qqemu.sstep", "0x7", NULL }, { "Qqemu.sstep=1", "OK", NULL },
		   { "Qqemu.sstep=7", "E22", NULL }, { "Z0,1000,4", "OK", NULL }, { "z0,1000,4", "OK", NULL },
		   { "Z1,ffffffff81000000,1", "E22", NULL }, { "z1,1000,1", "OK!", NULL } },
};

static struct stub *open_control(struct fake *f)
{
	struct stub *s;

	ok(stub_open(fake_start(f, &CONTROL), "fake", LONG_MS, &s));
	return s;
}

/* What was asked since the thread list. */
static void check_requests(struct stub *s, struct fake *f, const char *want)
{
	static const char before[] = "qsThreadInfo\nqsThreadInfo\n";

	stub_close(s, false);
	fake_join(f);
	ck_assert_str_eq(strstr(buf_str(&f->log), before) + strlen(before), want);
	buf_deinit(&f->log);
}

/* It returns when the stub has taken it, and says nothing more. */
START_TEST(test_run)
{
	struct guest_event event;
	struct fake f;
	struct stub *s = open_control(&f);

	ok(stub_run(s, RUN_CASES[_i].actions));
	ok(stub_wait(s, SHORT_MS, &event));
	ck_assert_int_eq(event.kind, GUEST_EVENT_NONE);
	ck_assert_uint_eq(f.nacks, 0);
	check_requests(s, &f, RUN_CASES[_i].requests);
}
END_TEST

START_TEST(test_breakpoints)
{
	static const struct breakpoint soft = { BREAKPOINT_SOFTWARE, 0x1000, 4 }, watch = { WATCHPOINT_READ, 0x1000, 4 };
	static const struct breakpoint hard = { BREAKPOINT_HARDWARE, 0xffffffff81000000, 1 };
	static const struct breakpoint odd = { BREAKPOINT_HARDWARE, 0x1000, 1 };
	struct fake f;
	struct stub *s = open_control(&f);

	ok(stub_set_breakpoint(s, 1, &soft));
	ok(stub_clear_breakpoint(s, &soft));
	expect_error(stub_set_breakpoint(s, 0, &hard), ERR_UNSUPPORTED, "refuses");
	expect_error(stub_set_breakpoint(s, 0, &watch), ERR_UNSUPPORTED, "none of this kind");
	expect_error(stub_clear_breakpoint(s, &odd), ERR_INVALID, "OK!");
	ok(stub_clear_breakpoints(s));
	check_requests(s, &f, "Hc02\nZ0,1000,4\nz0,1000,4\nHc01\nZ1,ffffffff81000000,1\nHc01\nZ3,1000,4\n"
			      "z1,1000,1\nHc01\n?\nHc02\n?\nqC\n");
}
END_TEST

START_TEST(test_step_flags)
{
	struct fake f;
	struct stub *s = open_control(&f);
	unsigned flags = 0;

	ok(stub_step_flags(s, &flags));
	ck_assert_uint_eq(flags, 7);
	ok(stub_set_step_flags(s, 1));
	expect_error(stub_set_step_flags(s, 7), ERR_INVALID, "E22");
	check_requests(s, &f, "qqemu.sstep\nQqemu.sstep=1\nQqemu.sstep=7\n");
}
END_TEST

START_TEST(test_closed)
{
	struct fake f;
	struct stub *s = open_control(&f);

	ck_assert(!stub_is_closed(s));
	shutdown(f.fd, SHUT_RDWR);
	fake_join(&f);
	ck_assert(stub_is_closed(s));
	stub_close(s, false);
	buf_deinit(&f.log);
}
END_TEST

/* ---- registers ---- */

#define REG(name, bits, regnum) "<reg name=\"" name "\" bitsize=\"" bits "\" regnum=\"" regnum "\"/>"
#define FEATURE(name, regs) "<feature name=\"" name "\">" regs "</feature>"
#define TARGET(features) "<target>" features "</target>"

struct reg_case {
	const char *arch;
	enum byte_order order; /* of the guest */
	const char *xml;
	struct rule rules[8];
	const char *reg, *bytes; /* as in the slot, in hexadecimal; NULL: unknown */
	const char *written;     /* what writes the same bytes again; NULL: refused */
};

#define X86(regs) TARGET(FEATURE("org.gnu.gdb.i386.core", regs))
#define MSR FEATURE("org.gnu.gdb.power.core", REG("msr", "64", "65"))
#define MSR_BIG { "p41", "9000000000000000", NULL }
#define MSR_LITTLE { "p41", "3310000000000080", NULL }

static const struct reg_case REG_CASES[] = {
	{ "x86_64", ORDER_LITTLE, X86(REG("rax", "64", "0")), { { "p0", "0102030405060708", NULL } },
	  "rax", "0102030405060708", "P0=0102030405060708" },
	/* Wider and narrower than the row: the low part, and zeros above it. */
	{ "x86_64", ORDER_LITTLE, X86(REG("eflags", "64", "1")), { { "p1", "0203000011223344", NULL } },
	  "eflags", "02030000", "P1=0203000000000000" },
	{ "x86_64", ORDER_LITTLE, X86(REG("fs_base", "32", "1")), { { "p1", "01020304", NULL } },
	  "fs_base", "0102030400000000", "P1=01020304" },
	/* As wide as the answer, whatever the description says. */
	{ "x86_64", ORDER_LITTLE, X86(REG("cr3", "64", "2")), { { "p2", "00a00002", NULL } },
	  "cr3", "00a0000200000000", "P2=00a0000200000000" },
	{ "ppc64", ORDER_BIG, TARGET(FEATURE("org.gnu.gdb.power.fpu", REG("fpscr", "32", "70"))),
	  { { "p46", "01020304", NULL } }, "fpscr", "0000000001020304", "P46=01020304" },
	{ "s390x", ORDER_BIG, TARGET(FEATURE("org.gnu.gdb.s390.fpr", REG("fpc", "64", "34"))),
	  { { "p22", "1122334400080000", NULL } }, "fpc", "00080000", "P22=0000000000080000" },
	/* In another feature, or with another name. */
	{ "x86_64", ORDER_LITTLE, TARGET(FEATURE("org.qemu.other", REG("cr4", "64", "30"))),
	  { { "p1e", "a006000000000000", NULL } }, "cr4", "a006000000000000", "P1e=a006000000000000" },
	{ "x86_64", ORDER_LITTLE, X86(REG("esp", "32", "4")), { { "p4", "78563412", NULL } },
	  "rsp", "7856341200000000", "P4=78563412" },
	/* QEMU has a stale copy of xer in its own feature, and vrsave in two. */
	{ "ppc64", ORDER_BIG,
	  TARGET(FEATURE("org.qemu.power.spr", REG("xer", "64", "170") REG("lpcr", "64", "171"))
		 FEATURE("org.gnu.gdb.power.core", REG("xer", "32", "69"))),
	  { { "p45", "20040000", NULL }, { "paa", "0000000000000000", NULL } }, "xer", "20040000", "P45=20040000" },
	/* A vCPU's bytes come as its MSR[LE] is, into slots of the guest's order. */
	{ "ppc64", ORDER_LITTLE, TARGET(MSR FEATURE("x", REG("vr1", "128", "105"))),
	  { MSR_LITTLE, { "p69", "00112233445566778899aabbccddeeff", NULL } },
	  "vr1", "00112233445566778899aabbccddeeff", "P69=00112233445566778899aabbccddeeff" },
	{ "ppc64", ORDER_LITTLE, TARGET(MSR FEATURE("x", REG("vr1", "128", "105"))),
	  { MSR_BIG, { "p69", "00112233445566778899aabbccddeeff", NULL } },
	  "vr1", "ffeeddccbbaa99887766554433221100", "P69=00112233445566778899aabbccddeeff" },
	{ "ppc64", ORDER_BIG, TARGET(MSR FEATURE("x", REG("vs3h", "64", "9"))),
	  { MSR_LITTLE, { "p9", "0102030405060708", NULL } }, "vs3h", "0807060504030201", "P9=0102030405060708" },
	{ "ppc64", ORDER_BIG, TARGET(MSR FEATURE("x", REG("cr", "32", "66"))),
	  { MSR_BIG, { "p42", "01020304", NULL } }, "cr", "01020304", "P42=01020304" },
	{ "ppc64", ORDER_LITTLE, TARGET(MSR FEATURE("x", REG("cr", "32", "66"))),
	  { { "p41", "E14", NULL }, { "p42", "01020304", NULL } }, "cr", "01020304", "P42=01020304" },
	/* s390x vectors: the low halves of the first, all of the others. */
	{ "s390x", ORDER_BIG, TARGET(FEATURE("org.gnu.gdb.s390.vx", REG("v3l", "64", "54"))),
	  { { "p36", "0102030405060708", NULL } }, "v3l", "0102030405060708", "P36=01020304050607080102030405060708" },
	{ "s390x", ORDER_BIG, TARGET(FEATURE("org.gnu.gdb.s390.vx", REG("v16", "128", "67"))),
	  { { "p43", "00112233445566778899aabbccddeeff", NULL } }, "v16", "00112233445566778899aabbccddeeff",
	  "P43=00112233445566778899aabbccddeeff" },
	/* Unknown, each in its way. */
	{ "x86_64", ORDER_LITTLE, X86(REG("rip", "64", "16")), { { "p10", "E14", NULL } }, "rip", NULL, "P10=" },
	{ "x86_64", ORDER_LITTLE, X86(REG("rip", "64", "16")), { { "p10", "xxxxxxxxxxxxxxxx", NULL } }, "rip", NULL, "P10=" },
	{ "x86_64", ORDER_LITTLE, X86(REG("rip", "64", "16")), { { "p10", "00112233xxxxxxxx", NULL } }, "rip", NULL, "P10=" },
	{ "x86_64", ORDER_LITTLE, X86(REG("rip", "64", "16")), { { "p10", "", NULL } }, "rip", NULL, "P10=" },
	{ "x86_64", ORDER_LITTLE, X86(REG("rax", "64", "0")), { { "p0", "00", NULL } }, "star", NULL, NULL },
	{ "x86_64", ORDER_LITTLE, X86(REG("rax", "64", "0") REG("rbx", "63", "1")), { { "p0", "00", NULL } },
	  "rbx", NULL, NULL },
	/* Run lengths. */
	{ "x86_64", ORDER_LITTLE, X86(REG("rax", "64", "0")), { { "p0", "120*(34", NULL } }, "rax",
	  "1200000000000034", "P0=1200000000000034" },
};

static struct script script_of(const struct reg_case *c)
{
	struct script script = { .rules = { HELLO }, .documents = { { "target.xml", c->xml } } };
	size_t n = 0;

	while (script.rules[n].request)
		n++;
	for (size_t i = 0; i < ARRAY_LEN(c->rules) && c->rules[i].request; i++)
		script.rules[n++] = c->rules[i];
	if (c->written)
		script.rules[n] = (struct rule){ c->written, "OK", NULL };
	return script;
}

START_TEST(test_reg)
{
	const struct reg_case *c = &REG_CASES[_i];
	const struct arch *arch = arch_by_name(c->arch);
	struct script script = script_of(c);
	unsigned reg = (unsigned)arch_reg_by_name(arch, c->reg);
	struct regs *regs = regs_create(arch, c->order);
	struct buf got = { 0 };
	struct fake f;
	struct stub *s = open_mapped(&f, &script, arch);

	ck_assert_uint_lt(reg, arch->n_regs);
	ck_assert_int_eq(stub_has_reg(s, reg), c->written != NULL);
	ok(stub_read_regs(s, 0, regs));
	if (regs_bytes(regs, reg))
		buf_add_hex(&got, regs_bytes(regs, reg), reg_bytes(arch, reg));
	ck_assert_str_eq(buf_str(&got), c->bytes ? c->bytes : "");
	buf_deinit(&got);
	close_all(s, &f);
	regs_destroy(regs);
}
END_TEST

static struct err *write_one(struct stub *s, struct regs *regs, unsigned reg)
{
	bool *changed = xcalloc(regs->arch->n_regs, sizeof(*changed));
	struct err *e;

	changed[reg] = true;
	e = stub_write_regs(s, 0, regs, changed);
	free(changed);
	return e;
}

START_TEST(test_write_reg)
{
	const struct reg_case *c = &REG_CASES[_i];
	const struct arch *arch = arch_by_name(c->arch);
	struct script script = script_of(c);
	unsigned reg = (unsigned)arch_reg_by_name(arch, c->reg);
	struct regs *regs = regs_create(arch, c->order);
	struct fake f;
	struct stub *s = open_mapped(&f, &script, arch);

	ok(stub_read_regs(s, 0, regs));
	if (!c->bytes)
		regs_set(regs, reg, 1);
	if (c->bytes)
		ok(write_one(s, regs, reg));
	else
		expect_error(write_one(s, regs, reg), ERR_UNSUPPORTED, c->reg);
	close_all(s, &f);
	regs_destroy(regs);
}
END_TEST

/* What stays unknown stays as it was; an answer that is none is an error. */
START_TEST(test_malformed_reg)
{
	static const char *const answers[] = { "0", "01020", "0102030405060g08", "OK", "l" };
	struct script script = TOY;
	struct regs *regs = regs_create(&toy64, ORDER_LITTLE);
	struct fake f;
	struct stub *s;

	for (size_t i = 0; i < ARRAY_LEN(script.rules) && script.rules[i].request; i++)
		if (!strcmp(script.rules[i].request, "p9"))
			script.rules[i].answer = answers[_i];
	s = open_mapped(&f, &script, &toy64);
	expect_error(stub_read_regs(s, 0, regs), ERR_INVALID, "answer to p is none");
	close_all(s, &f);
	regs_destroy(regs);
}
END_TEST

/* The register that decides on the order of all goes last, and nothing goes when one is missing. */
START_TEST(test_write_order)
{
	static const struct script script = {
		.rules = {
			HELLO, MSR_LITTLE, { "P41=0000000000000080", "OK", NULL },
			{ "P43=8877665544332211", "OK", NULL },
		},
		.documents = { { "target.xml", TARGET(MSR FEATURE("x", REG("lr", "64", "67"))) } },
	};
	struct regs *regs = regs_create(&arch_ppc64, ORDER_BIG);
	bool changed[PPC64_N_REGS] = { [PPC64_MSR] = true, [PPC64_LR] = true };
	struct fake f;
	struct stub *s = open_mapped(&f, &script, &arch_ppc64);

	regs_set(regs, PPC64_MSR, 0x8000000000000000);
	regs_set(regs, PPC64_LR, 0x1122334455667788);
	regs_set(regs, PPC64_CTR, 0);
	ok(stub_write_regs(s, 1, regs, changed));
	changed[PPC64_CTR] = true;
	expect_error(stub_write_regs(s, 1, regs, changed), ERR_UNSUPPORTED, "ctr");
	stub_close(s, false);
	fake_join(&f);
	ck_assert_ptr_nonnull(strstr(f.log.data, "\nHg02\np41\nP43=8877665544332211\nP41=0000000000000080\n"));
	ck_assert_str_eq(strstr(f.log.data, "Hg02"), "Hg02\np41\nP43=8877665544332211\nP41=0000000000000080\n");
	buf_deinit(&f.log);
	regs_destroy(regs);
}
END_TEST

struct bad_map {
	struct document documents[2];
	enum err_code code;
	const char *text;
};

static const struct bad_map BAD_MAPS[] = {
	{ { { NULL, NULL } }, ERR_UNSUPPORTED, "has no target.xml" },
	{ { { "target.xml", "<target><architecture>i386</architecture></target>" } }, ERR_INVALID,
	  "no register of toy64; its architecture is \"i386\"" },
	{ { { "target.xml", "<t><xi:include href=\"a:b\"/></t>" } }, ERR_INVALID, "no name of a document" },
	{ { { "target.xml", "<t" } }, ERR_INVALID, "target.xml line 1" },
};

START_TEST(test_bad_map)
{
	const struct bad_map *c = &BAD_MAPS[_i];
	struct script script = { .rules = { HELLO } };
	struct fake f;
	struct stub *s;

	memcpy(script.documents, c->documents, sizeof(c->documents));
	ok(stub_open(fake_start(&f, &script), "fake", LONG_MS, &s));
	expect_error(stub_map_registers(s, &toy64), c->code, c->text);
	close_all(s, &f);
}
END_TEST

static const char *const BAD_PIECES[] = { "", "E14", "x<t/>", "m", "l}", "l<t" };

START_TEST(test_bad_piece)
{
	struct script script = { .rules = { HELLO } };
	struct fake f;
	struct stub *s;
	struct err *e;

	script.rules[ARRAY_LEN(script.rules) - 1] = (struct rule){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(script.rules); i++) {
		if (!script.rules[i].request) {
			script.rules[i] = (struct rule){ "qXfer:features:read:target.xml:0,fd0", BAD_PIECES[_i], NULL };
			break;
		}
	}
	ok(stub_open(fake_start(&f, &script), "fake", LONG_MS, &s));
	e = stub_map_registers(s, &toy64);
	ck_assert(e && (err_code(e) == ERR_INVALID || err_code(e) == ERR_UNSUPPORTED));
	err_destroy(e);
	close_all(s, &f);
}
END_TEST

/* ---- memory ---- */

#define PHYS_ON { "Qqemu.PhyMemMode:1", "OK", NULL }
#define PHYS_OFF { "Qqemu.PhyMemMode:0", "OK", NULL }
/* So that 40 bytes go into a packet. */
#define SMALL { "qSupported", "PacketSize=80", NULL }, { "qfThreadInfo", "m1", NULL }, { "qsThreadInfo", "l", NULL }
#define HEX8 "0001020304050607"
#define HEX40 HEX8 HEX8 HEX8 HEX8 HEX8

struct memory_case {
	struct rule rules[8];
	size_t asked, got;
	enum err_code code; /* got 0 */
	const char *log;    /* from the first of memory on */
};

static const struct memory_case MEMORY_CASES[] = {
	{ { PHYS_ON, PHYS_OFF, { "m1000,8", HEX8, NULL } }, 8, 8, 0,
	  "Qqemu.PhyMemMode:1\nm1000,8\nQqemu.PhyMemMode:0\n" },
	{ { PHYS_ON, PHYS_OFF, { "m1000,28", HEX40, NULL }, { "m1028,28", HEX40, NULL }, { "m1050,1", "00", NULL } },
	  81, 81, 0, "Qqemu.PhyMemMode:1\nm1000,28\nm1028,28\nm1050,1\nQqemu.PhyMemMode:0\n" },
	/* Fewer bytes than asked: from there on again. */
	{ { PHYS_ON, PHYS_OFF, { "m1000,20", HEX8 HEX8, NULL }, { "m1010,10", HEX8 HEX8, NULL } }, 32, 32, 0,
	  "Qqemu.PhyMemMode:1\nm1000,20\nm1010,10\nQqemu.PhyMemMode:0\n" },
	{ { PHYS_ON, PHYS_OFF, { "m1000,28", HEX40, NULL }, { "m1028,8", "E14", NULL } }, 48, 40, 0,
	  "Qqemu.PhyMemMode:1\nm1000,28\nm1028,8\nQqemu.PhyMemMode:0\n" },
	{ { PHYS_ON, PHYS_OFF, { "m1000,8", "E14", NULL } }, 8, 0, ERR_UNMAPPED,
	  "Qqemu.PhyMemMode:1\nm1000,8\nQqemu.PhyMemMode:0\n" },
	{ { PHYS_ON, PHYS_OFF, { "m1000,8", "", NULL } }, 8, 0, ERR_INVALID, "" },
	{ { PHYS_ON, PHYS_OFF, { "m1000,8", HEX8 "08", NULL } }, 8, 0, ERR_INVALID, "" },
	{ { PHYS_ON, PHYS_OFF, { "m1000,8", "000", NULL } }, 8, 0, ERR_INVALID, "" },
	{ { PHYS_ON, PHYS_OFF, { "m1000,8", "000102030405060x", NULL } }, 8, 0, ERR_INVALID, "" },
	{ { { "m1000,8", HEX8, NULL } }, 8, 0, ERR_UNSUPPORTED, "" },
};

START_TEST(test_read_phys)
{
	const struct memory_case *c = &MEMORY_CASES[_i];
	struct script script = { .rules = { SMALL } };
	uint8_t got[128];
	size_t n = 0;
	struct fake f;
	struct stub *s;

	memcpy(&script.rules[3], c->rules, sizeof(c->rules));
	ok(stub_open(fake_start(&f, &script), "fake", LONG_MS, &s));
	if (c->got)
		ok(stub_read_phys(s, 0x1000, got, c->asked, &n));
	else
		expect_error(stub_read_phys(s, 0x1000, got, c->asked, &n), c->code, "gdb stub");
	ck_assert_uint_eq(n, c->got);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(got[i], i % 8);
	stub_close(s, false);
	fake_join(&f);
	if (*c->log)
		ck_assert_str_eq(strstr(f.log.data, "Qqemu"), c->log);
	buf_deinit(&f.log);
}
END_TEST

START_TEST(test_write_phys)
{
	static const struct script script = {
		.rules = { SMALL, PHYS_ON, PHYS_OFF, { "M1000,28:" HEX40, "OK", NULL }, { "M1028,8:" HEX8, "OK", NULL },
			   { "M2000,8:" HEX8, "E14", NULL } },
	};
	uint8_t bytes[48];
	struct fake f;
	struct stub *s;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i % 8;
	ok(stub_open(fake_start(&f, &script), "fake", LONG_MS, &s));
	ok(stub_write_phys(s, 0x1000, bytes, sizeof(bytes)));
	expect_error(stub_write_phys(s, 0x2000, bytes, 8), ERR_UNMAPPED, "0x2000");
	stub_close(s, false);
	fake_join(&f);
	ck_assert_str_eq(strstr(f.log.data, "M2000"), "M2000,8:" HEX8 "\nQqemu.PhyMemMode:0\n");
	buf_deinit(&f.log);
}
END_TEST

/* ---- all of it ---- */

static TCase *text_cases(void)
{
	TCase *tc = tcase_create("packets and descriptions");

	tcase_add_loop_test(tc, test_run_lengths, 0, ARRAY_LEN(RUNS));
	tcase_add_test(tc, test_run_lengths_bound);
	tcase_add_test(tc, test_tdesc);
	tcase_add_loop_test(tc, test_bad_tdesc, 0, ARRAY_LEN(BAD_TDESCS));
	tcase_add_test(tc, test_too_many_regs);
	return tc;
}

static TCase *connection_cases(void)
{
	TCase *tc = tcase_create("connections");

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, test_ways, 0, 4);
	tcase_add_loop_test(tc, test_damage, 0, 3);
	tcase_add_loop_test(tc, test_acknowledgements, 0, 2);
	tcase_add_loop_test(tc, test_bad_open, 0, ARRAY_LEN(BAD_OPENS));
	tcase_add_test(tc, test_threads);
	tcase_add_test(tc, test_after_time_out);
	tcase_add_loop_test(tc, test_end_of_connection, 0, 2);
	tcase_add_test(tc, test_unix_address);
	tcase_add_loop_test(tc, test_tcp_address, 0, 2);
	tcase_add_loop_test(tc, test_bad_address, 0, ARRAY_LEN(BAD_ADDRESSES));
	tcase_add_loop_test(tc, test_stop_reply, 0, ARRAY_LEN(STOP_CASES));
	tcase_add_loop_test(tc, test_run, 0, ARRAY_LEN(RUN_CASES));
	tcase_add_test(tc, test_breakpoints);
	tcase_add_test(tc, test_step_flags);
	tcase_add_test(tc, test_closed);
	return tc;
}

static TCase *state_cases(void)
{
	TCase *tc = tcase_create("registers and memory");

	tcase_add_loop_test(tc, test_reg, 0, ARRAY_LEN(REG_CASES));
	tcase_add_loop_test(tc, test_write_reg, 0, ARRAY_LEN(REG_CASES));
	tcase_add_loop_test(tc, test_malformed_reg, 0, 5);
	tcase_add_test(tc, test_write_order);
	tcase_add_loop_test(tc, test_bad_map, 0, ARRAY_LEN(BAD_MAPS));
	tcase_add_loop_test(tc, test_bad_piece, 0, ARRAY_LEN(BAD_PIECES));
	tcase_add_loop_test(tc, test_read_phys, 0, ARRAY_LEN(MEMORY_CASES));
	tcase_add_test(tc, test_write_phys);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("stub");

	suite_add_tcase(s, text_cases());
	suite_add_tcase(s, connection_cases());
	suite_add_tcase(s, state_cases());
	return suite_run(s);
}
