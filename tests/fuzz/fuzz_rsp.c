/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * A client that sends anything. The input is what it sends, but for four bytes
 * that stand for what happens beside it: 0x01 a vCPU stops, 0x02 the monitor
 * command ends, 0x04 the VMM exits, 0x05 reads of memory fail from here on. An
 * input that starts with QStartNoAckMode needs no right checksums.
 */
#include <stdint.h>
#include <string.h>

#include "rsp/rsp.h"
#include "tests/fake_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void monitor(void *arg, struct rsp_session *s, const char *command)
{
	(void)arg;
	rsp_session_console(s, command, strlen(command));
	if (!strncmp(command, "fail", 4))
		rsp_session_monitor_done(s, err_new(ERR_USAGE, "%s", command));
	else if (strncmp(command, "wait", 4) != 0)
		rsp_session_monitor_done(s, NULL);
}

static struct err *attach(void *arg, pid_t pid, struct guest **ret)
{
	struct guest *g = arg;
	struct err *e = pid == 7 ? guest_stop(g) : err_new(ERR_INVALID, "process %d has no guest", (int)pid);

	if (!e)
		*ret = g;
	return e;
}

static void detach(void *arg)
{
	struct guest *g = arg;

	err_destroy(guest_clear_breakpoints(g));
	err_destroy(guest_resume(g));
}

/* Steps and breakpoints that were hit; a range step takes many turns. */
static void tell_events(struct guest *g, struct rsp_session *s)
{
	for (int i = 0; i < 16; i++) {
		struct guest_event ev;
		struct err *e = guest_poll(g, &ev);

		if (!e)
			rsp_session_event(s, &ev);
		err_destroy(e);
	}
}

static void happen(struct guest *g, struct rsp_session *s, uint8_t what)
{
	const struct guest_event stopped = { .kind = GUEST_EVENT_STOPPED, .vcpu = 1, .signal = 5 };
	const struct guest_event gone = { .kind = GUEST_EVENT_GONE };

	switch (what) {
	case 1:
		if (g->state == GUEST_RUNNING)
			rsp_session_event(s, &stopped);
		break;
	case 2:
		if (rsp_session_in_monitor(s))
			rsp_session_monitor_done(s, NULL);
		break;
	case 4:
		g->state = GUEST_GONE;
		rsp_session_event(s, &gone);
		break;
	default:
		fake_of(g)->fail_reads = true;
	}
}

static bool is_event(uint8_t byte)
{
	return byte == 1 || byte == 2 || byte == 4 || byte == 5;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct guest *g = fake_guest_create(2);
	const struct rsp_host host = { .monitor = monitor, .attach = attach, .detach = detach, .arg = g };
	struct rsp_session *s = rsp_session_create(g, &host);

	for (size_t at = 0; at < bytes && !rsp_session_ended(s);) {
		size_t n = 0;

		while (at + n < bytes && !is_event(data[at + n]))
			n++;
		rsp_session_input(s, data + at, n);
		tell_events(g, s);
		buf_reset(rsp_session_output(s));
		rsp_session_sent(s);
		at += n;
		if (at < bytes)
			happen(g, s, data[at++]);
	}
	rsp_session_destroy(s);
	guest_destroy(g);
	return 0;
}
