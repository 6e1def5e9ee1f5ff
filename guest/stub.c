/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/stub.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/cursor.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/packet.h"
#include "guest/peer.h"
#include "guest/stub_link.h"
#include "guest/stub_map.h"

#define TIMEOUT_MS 5000u
/* Of a stub that tells no PacketSize: what gdb takes then. */
#define DEFAULT_PACKET_BYTES 400u
#define MIN_PACKET_BYTES 128u
/* What a packet needs beside the data in it: "M", an address, a length, "$#00". */
#define OVERHEAD_BYTES 48u
#define MAX_DOCUMENT_BYTES (4u << 20)
#define MAX_THREAD_BYTES 34u /* "p" and two numbers of 64 bits */
#define MAX_THREADS 65536u
#define MAX_REG_BYTES (TDESC_MAX_BITS / 8)

/* As the stub writes it: "01", or "p01.01" where it has several processes. */
struct thread {
	char id[MAX_THREAD_BYTES + 1];
};

struct stub {
	struct stub_link *link;
	size_t packet_bytes;
	struct thread *threads;
	size_t n_threads;
	const struct arch *arch; /* NULL until stub_map_registers() */
	struct stub_map map;
	struct buf answer;
};

/* ---- answers ---- */

static struct err *odd_answer(const struct stub *s, const char *request)
{
	return err_new(ERR_INVALID, "the gdb stub's answer to %s is none: \"%.40s\"", request, buf_str(&s->answer));
}

/* "E14", or "E.text". */
static bool is_error(const struct buf *answer)
{
	return answer->len >= 3 && answer->data[0] == 'E' && (answer->len == 3 || answer->data[1] == '.');
}

static bool is_ok(const struct buf *answer)
{
	return !strcmp(buf_str(answer), "OK");
}

/* ---- connecting ---- */

/* "name=VALUE;name+;...": the hexadecimal value of PacketSize. */
static struct err *read_features(struct stub *s)
{
	struct cursor c = cursor_of(buf_str(&s->answer), s->answer.len);
	uint64_t bytes = DEFAULT_PACKET_BYTES;

	while (!cursor_at_end(&c)) {
		struct cursor feature = cursor_take_until(&c, ";");

		if (cursor_take_string(&feature, "PacketSize=") &&
		    (!cursor_take_hex(&feature, &bytes) || !cursor_at_end(&feature) || bytes < MIN_PACKET_BYTES))
			return odd_answer(s, "qSupported");
		cursor_take_char(&c, ';');
	}
	s->packet_bytes = MIN(bytes, PACKET_MAX_BYTES);
	return NULL;
}

/* "01" or "p01.01". */
static bool is_thread(struct cursor c)
{
	bool process = cursor_take_char(&c, 'p');
	uint64_t id;

	if (!cursor_take_hex(&c, &id))
		return false;
	if (process && (!cursor_take_char(&c, '.') || !cursor_take_hex(&c, &id)))
		return false;
	return cursor_at_end(&c);
}

static struct err *add_thread(struct stub *s, const struct cursor *id)
{
	size_t bytes = cursor_left(id);

	if (!is_thread(*id) || bytes > MAX_THREAD_BYTES || s->n_threads == MAX_THREADS)
		return odd_answer(s, "a list of threads");
	s->threads = xreallocarray(s->threads, s->n_threads + 1, sizeof(*s->threads));
	s->threads[s->n_threads] = (struct thread){ 0 };
	memcpy(s->threads[s->n_threads++].id, id->at, bytes);
	return NULL;
}

/* "m01,02"; *ret_last for "l". */
static struct err *add_threads(struct stub *s, bool *ret_last)
{
	struct cursor c = cursor_of(buf_str(&s->answer), s->answer.len);
	struct err *e = NULL;

	*ret_last = cursor_take_char(&c, 'l') && cursor_at_end(&c);
	if (*ret_last)
		return NULL;
	if (!cursor_take_char(&c, 'm'))
		return odd_answer(s, "a list of threads");
	do {
		struct cursor id = cursor_take_until(&c, ",");

		e = add_thread(s, &id);
	} while (!e && cursor_take_char(&c, ','));
	return e;
}

static struct err *read_threads(struct stub *s)
{
	struct err *e = stub_link_ask(s->link, "qfThreadInfo", &s->answer);
	bool last = false;

	while (!e && !last) {
		e = add_threads(s, &last);
		if (!e && !last)
			e = stub_link_ask(s->link, "qsThreadInfo", &s->answer);
	}
	if (!e && !s->n_threads)
		e = err_new(ERR_INVALID, "the gdb stub has no threads: no vCPU is there yet");
	return e;
}

struct err *stub_open(int fd, const char *name, unsigned timeout_ms, struct stub **ret)
{
	struct stub *s = xcalloc(1, sizeof(*s));
	struct err *e;

	s->link = stub_link_create(fd, name, timeout_ms);
	e = stub_link_ask(s->link, "qSupported", &s->answer);
	if (!e)
		e = read_features(s);
	if (!e)
		e = read_threads(s);
	if (e) {
		stub_close(s, false);
		return e;
	}
	*ret = s;
	return NULL;
}

struct err *stub_connect(const char *address, struct stub **ret)
{
	struct err *e;
	int fd;

	e = peer_connect(address, peer_now_ms() + TIMEOUT_MS, &fd);
	if (e)
		return err_prefix(e, "the gdb stub at %s", address);
	return stub_open(fd, address, TIMEOUT_MS, ret);
}

static void detach(struct stub *s)
{
	struct err *e = stub_link_ask(s->link, "D", &s->answer);

	if (!e && !is_ok(&s->answer))
		e = odd_answer(s, "D");
	if (e)
		log_warn("the guest may stay paused: %s", err_text(e));
	err_destroy(e);
}

void stub_close(struct stub *s, bool resume)
{
	if (!s)
		return;
	if (resume)
		detach(s);
	stub_link_destroy(s->link);
	stub_map_deinit(&s->map);
	buf_deinit(&s->answer);
	free(s->threads);
	free(s);
}

int stub_fd(const struct stub *s)
{
	return stub_link_fd(s->link);
}

bool stub_is_closed(const struct stub *s)
{
	char byte;

	return recv(stub_fd(s), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

unsigned stub_vcpus(const struct stub *s)
{
	return (unsigned)s->n_threads;
}

/* ---- stop replies ---- */

static bool find_thread(const struct stub *s, const struct cursor *id, unsigned *ret)
{
	for (size_t i = 0; i < s->n_threads; i++) {
		if (cursor_equals(id, s->threads[i].id)) {
			*ret = (unsigned)i;
			return true;
		}
	}
	return false;
}

/* "watch:ADDR" and its like; QEMU itself says only those for data. */
static void read_reason(struct cursor pair, struct guest_event *ret)
{
	static const struct {
		const char *key;
		enum breakpoint_kind kind;
	} reasons[] = {
		{ "watch:", WATCHPOINT_WRITE },	   { "rwatch:", WATCHPOINT_READ },
		{ "awatch:", WATCHPOINT_ACCESS },  { "swbreak:", BREAKPOINT_SOFTWARE },
		{ "hwbreak:", BREAKPOINT_HARDWARE },
	};

	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		if (!cursor_take_string(&pair, reasons[i].key))
			continue;
		ret->cause = STOP_BREAKPOINT;
		ret->breakpoint = reasons[i].kind;
		cursor_take_hex(&pair, &ret->gva);
	}
}

/* "T05thread:01;watch:ff;", "S05", "W00" */
static void read_stop_reply(const struct stub *s, struct guest_event *ret)
{
	struct cursor c = cursor_of(buf_str(&s->answer), s->answer.len);
	char letter = *c.at++;
	uint8_t number;

	if (!cursor_take_hex_bytes(&c, &number, 1) || letter == 'O')
		return;
	*ret = (struct guest_event){ .kind = GUEST_EVENT_STOPPED, .signal = number };
	if (letter == 'W' || letter == 'X')
		ret->kind = GUEST_EVENT_GONE;
	while (!cursor_at_end(&c)) {
		struct cursor pair = cursor_take_until(&c, ";");

		read_reason(pair, ret);
		if (cursor_take_string(&pair, "thread:"))
			find_thread(s, &pair, &ret->vcpu);
		cursor_take_char(&c, ';');
	}
}

struct err *stub_wait(struct stub *s, unsigned ms, struct guest_event *ret)
{
	struct guest_event event = { .kind = GUEST_EVENT_NONE };
	int64_t deadline = ms ? peer_now_ms() + ms : 0;
	bool some = true;

	while (some) {
		struct err *e = stub_link_poll(s->link, deadline, &s->answer, &some);

		if (e)
			return e;
		if (some)
			read_stop_reply(s, &event);
		if (event.kind != GUEST_EVENT_NONE)
			deadline = 0;
	}
	*ret = event;
	return NULL;
}

struct err *stub_poll(struct stub *s, struct guest_event *ret)
{
	return stub_wait(s, 0, ret);
}

/* ---- run control ---- */

static struct err *expect_ok(struct stub *s, struct err *e, const char *request)
{
	return e || is_ok(&s->answer) ? e : odd_answer(s, request);
}

struct err *stub_choose(struct stub *s, unsigned vcpu)
{
	assert(vcpu < s->n_threads);
	return expect_ok(s, stub_link_askf(s->link, &s->answer, "Hc%s", s->threads[vcpu].id), "Hc");
}

/* What has no action of its own stands still; the first action that fits a vCPU counts. */
static void add_actions(const struct stub *s, const enum run_action *actions, struct buf *out)
{
	bool holds = false;

	buf_adds(out, "vCont");
	for (size_t i = 0; i < s->n_threads; i++) {
		holds |= actions[i] == RUN_HOLD;
		if (actions[i] == RUN_STEP)
			buf_addf(out, ";s:%s", s->threads[i].id);
	}
	if (!holds)
		buf_adds(out, ";c");
	for (size_t i = 0; holds && i < s->n_threads; i++)
		if (actions[i] == RUN_CONTINUE)
			buf_addf(out, ";c:%s", s->threads[i].id);
}

struct err *stub_run(struct stub *s, const enum run_action *actions)
{
	struct buf request = { 0 };
	struct err *e = NULL;

	for (unsigned i = 0; !e && i < s->n_threads; i++)
		if (actions[i] == RUN_STEP)
			e = stub_choose(s, i);
	add_actions(s, actions, &request);
	if (!e && request.len > s->packet_bytes - OVERHEAD_BYTES)
		e = err_new(ERR_UNSUPPORTED, "the gdb stub takes no packet that is long enough for the actions of %zu vCPUs",
			    s->n_threads);
	if (!e)
		e = stub_link_tell(s->link, buf_str(&request));
	buf_deinit(&request);
	return e;
}

struct err *stub_set_step_flags(struct stub *s, unsigned flags)
{
	return expect_ok(s, stub_link_askf(s->link, &s->answer, "Qqemu.sstep=%x", flags), "Qqemu.sstep");
}

struct err *stub_step_flags(struct stub *s, unsigned *ret)
{
	struct err *e = stub_link_ask(s->link, "qqemu.sstep", &s->answer);
	struct cursor c = cursor_of(buf_str(&s->answer), s->answer.len);
	uint64_t flags;

	if (e)
		return e;
	cursor_take_string(&c, "0x");
	if (!cursor_take_hex(&c, &flags) || !cursor_at_end(&c) || flags > UINT_MAX)
		return odd_answer(s, "qqemu.sstep");
	*ret = (unsigned)flags;
	return NULL;
}

static struct err *put_breakpoint(struct stub *s, char letter, const struct breakpoint *b)
{
	struct err *e = stub_link_askf(s->link, &s->answer, "%c%d,%" PRIx64 ",%" PRIx64, letter, (int)b->kind, b->gva,
				       b->bytes);

	if (e || is_ok(&s->answer))
		return e;
	if (s->answer.len && !is_error(&s->answer))
		return odd_answer(s, "Z");
	return err_new(ERR_UNSUPPORTED, "QEMU's gdb stub %s", s->answer.len ? "refuses it" : "has none of this kind");
}

struct err *stub_set_breakpoint(struct stub *s, unsigned vcpu, const struct breakpoint *b)
{
	struct err *e = stub_choose(s, vcpu);

	return e ? e : put_breakpoint(s, 'Z', b);
}

struct err *stub_clear_breakpoint(struct stub *s, const struct breakpoint *b)
{
	return put_breakpoint(s, 'z', b);
}

/* To a QEMU that translates, the question for the stop is one to forget those of the chosen vCPU. */
struct err *stub_clear_breakpoints(struct stub *s)
{
	struct err *e = NULL;

	for (unsigned i = 0; !e && i < s->n_threads; i++) {
		e = stub_choose(s, i);
		if (!e)
			e = stub_link_tell(s->link, "?");
	}
	/* The answer to another question shows that QEMU is done. */
	return e ? e : stub_link_ask(s->link, "qC", &s->answer);
}

/* ---- registers ---- */

static bool is_annex_name(const char *annex)
{
	return !annex[strcspn(annex, ":;,#$}*")];
}

/* One piece; *ret_last when it is the last one. */
static struct err *fetch_piece(struct stub *s, const char *annex, struct buf *ret, size_t start, bool *ret_last)
{
	size_t had = ret->len;
	struct cursor c;
	struct err *e = stub_link_askf(s->link, &s->answer, "qXfer:features:read:%s:%zx,%zx", annex, had - start,
				       s->packet_bytes - OVERHEAD_BYTES);

	if (e)
		return e;
	if (!s->answer.len || is_error(&s->answer))
		return err_new(ERR_UNSUPPORTED, "the gdb stub has no %s", annex);
	c = cursor_of(s->answer.data, s->answer.len);
	*ret_last = cursor_take_char(&c, 'l');
	if ((!*ret_last && !cursor_take_char(&c, 'm')) || !packet_take_binary(&c, ret) ||
	    (!*ret_last && ret->len == had))
		return odd_answer(s, "qXfer:features:read");
	return NULL;
}

static struct err *fetch(void *arg, const char *annex, struct buf *ret)
{
	size_t start = ret->len;
	bool last = false;
	struct err *e = NULL;

	if (!is_annex_name(annex))
		return err_new(ERR_INVALID, "\"%s\" is no name of a document", annex);
	while (!e && !last) {
		e = fetch_piece(arg, annex, ret, start, &last);
		if (!e && ret->len - start > MAX_DOCUMENT_BYTES)
			e = err_new(ERR_INVALID, "the gdb stub's %s is longer than %u bytes", annex, MAX_DOCUMENT_BYTES);
	}
	return e;
}

struct err *stub_map_registers(struct stub *s, const struct arch *arch)
{
	struct tdesc t;
	struct stub_map map;
	struct err *e = tdesc_read(fetch, s, &t);

	if (e)
		return err_prefix(e, "the gdb stub's registers");
	map = stub_map_of(arch, &t);
	if (!map.n_known)
		e = err_new(ERR_INVALID, "the gdb stub has no register of %s; its architecture is \"%s\"", arch->name,
			    t.architecture);
	tdesc_deinit(&t);
	if (e) {
		stub_map_deinit(&map);
		return e;
	}
	stub_map_deinit(&s->map);
	s->map = map;
	s->arch = arch;
	return NULL;
}

bool stub_has_reg(const struct stub *s, unsigned reg)
{
	assert(s->arch && reg < s->arch->n_regs);
	return s->map.rows[reg].known;
}

static struct err *select_vcpu(struct stub *s, unsigned vcpu)
{
	struct err *e;

	assert(vcpu < s->n_threads);
	e = stub_link_askf(s->link, &s->answer, "Hg%s", s->threads[vcpu].id);
	if (!e && !is_ok(&s->answer))
		e = err_new(ERR_INVALID, "the gdb stub does not let thread %s be chosen: \"%.40s\"",
			    s->threads[vcpu].id, buf_str(&s->answer));
	return e;
}

/* Of the answer to p: as it comes, of any width, in *ret; *ret_some false: the stub does not know it. */
static struct err *take_raw(struct stub *s, struct buf *ret, bool *ret_some)
{
	size_t bytes = s->answer.len / 2;

	*ret_some = s->answer.len && !is_error(&s->answer) && !memchr(s->answer.data, 'x', s->answer.len);
	if (!*ret_some)
		return NULL;
	buf_reset(ret);
	if (s->answer.len % 2 || bytes > MAX_REG_BYTES || !hex_decode(s->answer.data, bytes, buf_extend(ret, bytes)))
		return odd_answer(s, "p");
	return NULL;
}

/*
 * The order in which the selected vCPU's registers come: that of the guest, but
 * for a vCPU that can run in both, where it is that of the moment.
 */
static struct err *wire_order(struct stub *s, enum byte_order guest, enum byte_order *ret)
{
	struct buf raw = { 0 };
	bool some = false;
	struct err *e = NULL;

	*ret = guest;
	if (s->map.order_row < 0)
		return NULL;
	e = stub_link_askf(s->link, &s->answer, "p%x", s->map.rows[s->map.order_row].regnum);
	if (!e)
		e = take_raw(s, &raw, &some);
	if (!e && some)
		*ret = stub_map_order(raw.data, raw.len);
	buf_deinit(&raw);
	return e;
}

static struct err *take_row(struct stub *s, unsigned reg, enum byte_order wire, struct buf *raw, struct regs *ret)
{
	uint8_t slot[ARCH_MAX_REG_BYTES];
	bool some;
	struct err *e = take_raw(s, raw, &some);

	if (e || !some)
		return e;
	stub_map_resize(slot, reg_bytes(s->arch, reg), ret->order, raw->data, raw->len, wire);
	regs_set_bytes(ret, reg, slot);
	return NULL;
}

static void queue_rows(struct stub *s)
{
	struct buf request = { 0 };

	for (unsigned reg = 0; reg < s->arch->n_regs; reg++) {
		if (!s->map.rows[reg].known)
			continue;
		buf_reset(&request);
		buf_addf(&request, "p%x", s->map.rows[reg].regnum);
		stub_link_queue(s->link, buf_str(&request));
	}
	buf_deinit(&request);
}

/* All are asked for together: each by itself would be a journey. An odd answer does not end them. */
static struct err *read_rows(struct stub *s, enum byte_order wire, struct regs *ret)
{
	struct err *e = NULL, *lost = NULL;
	struct buf raw = { 0 };

	queue_rows(s);
	for (unsigned reg = 0; !lost && reg < s->arch->n_regs; reg++) {
		if (!s->map.rows[reg].known)
			continue;
		lost = stub_link_receive(s->link, &s->answer);
		if (!lost && !e)
			e = take_row(s, reg, wire, &raw, ret);
	}
	buf_deinit(&raw);
	if (!lost)
		return e;
	err_destroy(e);
	return lost;
}

struct err *stub_read_regs(struct stub *s, unsigned vcpu, struct regs *ret)
{
	enum byte_order wire;
	struct err *e = select_vcpu(s, vcpu);

	assert(s->arch == ret->arch);
	if (!e)
		e = wire_order(s, ret->order, &wire);
	if (!e)
		e = read_rows(s, wire, ret);
	return err_prefix(e, "the registers of vCPU %u", vcpu);
}

static struct err *write_row(struct stub *s, unsigned reg, enum byte_order wire, const struct regs *from)
{
	const struct stub_row *row = &s->map.rows[reg];
	struct buf raw = { 0 }, request = { 0 };
	struct err *e;

	buf_extend(&raw, row->bytes);
	stub_map_resize(raw.data, row->bytes, wire, regs_bytes(from, reg), reg_bytes(s->arch, reg), from->order);
	buf_addf(&request, "P%x=", row->regnum);
	buf_add_hex(&request, raw.data, raw.len);
	if (row->written_twice)
		buf_add_hex(&request, raw.data, raw.len);
	e = stub_link_ask(s->link, buf_str(&request), &s->answer);
	if (!e && !is_ok(&s->answer))
		e = err_new(ERR_UNSUPPORTED, "the gdb stub does not write %s: \"%.40s\"", s->arch->regs[reg].name,
			    buf_str(&s->answer));
	buf_deinit(&request);
	buf_deinit(&raw);
	return e;
}

static struct err *check_writable(const struct stub *s, const struct regs *from, const bool *changed)
{
	for (unsigned reg = 0; reg < s->arch->n_regs; reg++) {
		assert(!changed[reg] || from->valid[reg]);
		if (changed[reg] && !s->map.rows[reg].known)
			return err_new(ERR_UNSUPPORTED, "QEMU's gdb stub has no register %s", s->arch->regs[reg].name);
	}
	return NULL;
}

struct err *stub_write_regs(struct stub *s, unsigned vcpu, const struct regs *from, const bool *changed)
{
	int last = s->map.order_row;
	enum byte_order wire;
	struct err *e = check_writable(s, from, changed);

	if (!e)
		e = select_vcpu(s, vcpu);
	if (!e)
		e = wire_order(s, from->order, &wire);
	for (unsigned reg = 0; !e && reg < s->arch->n_regs; reg++)
		if (changed[reg] && (int)reg != last)
			e = write_row(s, reg, wire, from);
	/* What it changes may be the order of all the others. */
	if (!e && last >= 0 && changed[last])
		e = write_row(s, (unsigned)last, wire, from);
	return err_prefix(e, "the registers of vCPU %u", vcpu);
}

/* ---- memory ---- */

static struct err *set_physical(struct stub *s, bool on)
{
	struct err *e = stub_link_ask(s->link, on ? "Qqemu.PhyMemMode:1" : "Qqemu.PhyMemMode:0", &s->answer);

	if (!e && !is_ok(&s->answer))
		e = err_new(ERR_UNSUPPORTED, "the gdb stub has no physical memory: QEMU 4.2 and later has");
	return e;
}

/* The mode is for every client of this QEMU, so it ends with each call, whose error this is. */
static struct err *leave_physical(struct stub *s, struct err *e)
{
	struct err *left = set_physical(s, false);

	if (!e)
		return left;
	err_destroy(left);
	return e;
}

static size_t piece_bytes(const struct stub *s, size_t left)
{
	return MIN(left, (s->packet_bytes - OVERHEAD_BYTES) / 2);
}

static struct err *read_piece(struct stub *s, uint64_t gpa, uint8_t *ret, size_t bytes, size_t *ret_bytes)
{
	struct err *e = stub_link_askf(s->link, &s->answer, "m%" PRIx64 ",%zx", gpa, bytes);
	size_t got = s->answer.len / 2;

	if (e)
		return e;
	if (is_error(&s->answer))
		return err_new(ERR_UNMAPPED, "the gdb stub reads no memory there");
	if (!got || s->answer.len % 2 || got > bytes || !hex_decode(s->answer.data, got, ret))
		return odd_answer(s, "m");
	*ret_bytes = got;
	return NULL;
}

static struct err *read_pieces(struct stub *s, uint64_t gpa, uint8_t *ret, size_t bytes, size_t *ret_bytes)
{
	size_t done = 0;

	while (done < bytes) {
		size_t got = 0;
		struct err *e = read_piece(s, gpa + done, ret + done, piece_bytes(s, bytes - done), &got);

		if (e && (!done || err_code(e) != ERR_UNMAPPED))
			return e;
		err_destroy(e);
		if (e)
			break;
		done += got;
	}
	*ret_bytes = done;
	return NULL;
}

struct err *stub_read_phys(struct stub *s, uint64_t gpa, void *ret, size_t bytes, size_t *ret_bytes)
{
	struct err *e = set_physical(s, true);

	if (e)
		return e;
	return leave_physical(s, read_pieces(s, gpa, ret, bytes, ret_bytes));
}

static struct err *write_piece(struct stub *s, uint64_t gpa, const uint8_t *from, size_t bytes)
{
	struct buf request = { 0 };
	struct err *e;

	buf_addf(&request, "M%" PRIx64 ",%zx:", gpa, bytes);
	buf_add_hex(&request, from, bytes);
	e = stub_link_ask(s->link, buf_str(&request), &s->answer);
	if (!e && !is_ok(&s->answer))
		e = err_new(ERR_UNMAPPED, "the gdb stub writes no memory at 0x%" PRIx64, gpa);
	buf_deinit(&request);
	return e;
}

static struct err *write_pieces(struct stub *s, uint64_t gpa, const uint8_t *from, size_t bytes)
{
	struct err *e = NULL;

	while (!e && bytes) {
		size_t piece = piece_bytes(s, bytes);

		e = write_piece(s, gpa, from, piece);
		gpa += piece;
		from += piece;
		bytes -= piece;
	}
	return e;
}

struct err *stub_write_phys(struct stub *s, uint64_t gpa, const void *from, size_t bytes)
{
	struct err *e = set_physical(s, true);

	if (e)
		return e;
	return leave_physical(s, write_pieces(s, gpa, from, bytes));
}
