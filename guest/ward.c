/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/ward.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "guest/armed.h"
#include "guest/inject.h"
#include "guest/step.h"
#include "guest/survivor.h"
#include "guest/tracee.h"
#include "guest/vmm_fork.h"
#include "guest/watch.h"

enum ward_state {
	WARD_FREE,    /* nothing is traced */
	WARD_STOPPED,
	WARD_RUNNING, /* with something armed, all threads traced */
	WARD_WATCHING, /* running with nothing armed, all threads traced */
};

struct ward {
	int sock;
	pid_t pid;
	enum ward_state state;
	bool ends; /* with the next answer: only a tracer's end lets go of a thread that is not at rest */
	struct tracees ts;
	struct vcpu_thread *hints;
	size_t n_hints;
	struct host_gadgets gadgets;
	bool has_gadgets;
	struct armed *armed;   /* NULL: nothing was since it was free */
	struct watch *watch;   /* NULL: nobody asked for it since it was free */
	struct err *run_error; /* ended the run that was; for the next stop to tell */
	int reply_fd;          /* goes with the next answer; -1: none */
};

/* ---- stopping and letting go ---- */

static bool is_running(const struct ward *w)
{
	return w->state == WARD_RUNNING || w->state == WARD_WATCHING;
}

/* Of one that is running. */
static struct err *halt(struct ward *w)
{
	bool armed = w->state == WARD_RUNNING;

	w->state = WARD_STOPPED;
	return armed ? armed_halt(w->armed) : watch_halt(w->watch);
}

static void disarm(struct ward *w)
{
	armed_destroy(w->armed, &w->ends);
	w->armed = NULL;
	err_destroy(w->run_error);
	w->run_error = NULL;
}

static void let_go(struct ward *w)
{
	if (is_running(w))
		err_destroy(halt(w));
	disarm(w);
	watch_destroy(w->watch);
	w->watch = NULL;
	if (w->state != WARD_FREE && !tracees_release(&w->ts))
		w->ends = true;
	w->state = WARD_FREE;
}

static void remember_threads(struct ward *w)
{
	free(w->hints);
	w->hints = xcalloc(w->ts.n, sizeof(*w->hints));
	w->n_hints = 0;
	for (size_t i = 0; i < w->ts.n; i++)
		if (w->ts.t[i].parked)
			w->hints[w->n_hints++] = (struct vcpu_thread){ w->ts.t[i].tid, w->ts.t[i].vcpu_fd };
}

/* However it came to be stopped. */
static struct err *stop(struct ward *w, unsigned n_vcpus)
{
	struct err *e = w->run_error;

	w->run_error = NULL;
	if (is_running(w))
		return halt(w);
	if (w->state == WARD_STOPPED)
		return e;
	w->state = WARD_STOPPED;
	return tracees_stop(&w->ts, w->pid, n_vcpus, w->hints, w->n_hints);
}

static void put_stopped(const struct ward *w, struct buf *out)
{
	struct guardian_stopped s = { 0 };
	struct ward_stopped head;

	if (w->armed)
		armed_report(w->armed, &s);
	head = (struct ward_stopped){ (uint32_t)w->n_hints, s.undisturbed, (uint32_t)s.n_hits, (uint32_t)s.n_left };
	buf_add(out, &head, sizeof(head));
	buf_add(out, s.hits, s.n_hits * sizeof(*s.hits));
	buf_add(out, s.left, s.n_left * sizeof(*s.left));
}

static struct err *do_stop(struct ward *w, unsigned n_vcpus, struct buf *out)
{
	struct err *e = stop(w, n_vcpus);

	if (e) {
		let_go(w);
		return e;
	}
	remember_threads(w);
	put_stopped(w, out);
	return NULL;
}

static struct err *need_gadgets(struct ward *w)
{
	struct err *e;

	if (w->has_gadgets)
		return NULL;
	e = inject_find_gadgets(&w->ts, &w->gadgets);
	w->has_gadgets = !e;
	return e;
}

/* ---- calls ---- */

/* The calls stand in the request, and their answers take their places. */
struct batch {
	char *at;
	uint32_t left;
};

static int fd_of(const struct batch *b)
{
	struct ward_call c;

	memcpy(&c, b->at, sizeof(c));
	return c.fd;
}

/* Those that are for one descriptor and stand together. */
static struct err *run_calls(struct injector *in, int fd, struct batch *b)
{
	struct err *e = NULL;

	while (!e && b->left && fd_of(b) == fd) {
		struct ward_call c;
		long result;

		memcpy(&c, b->at, sizeof(c));
		if (c.pointer_at)
			inject_set_pointer(in, b->at + sizeof(c), c.pointer_at, c.points_to);
		e = inject_ioctl(in, c.fd, (unsigned long)c.request, b->at + sizeof(c), c.bytes, &result);
		if (!e)
			c.result = result;
		memcpy(b->at, &c, sizeof(c));
		b->at += sizeof(c) + c.bytes;
		b->left--;
	}
	return e;
}

static struct err *do_batch(struct ward *w, struct batch *b)
{
	struct injector in;
	int fd = fd_of(b);
	struct err *e = inject_begin(&w->ts, &w->gadgets, fd, &in);

	return e ? e : inject_end_after(&in, run_calls(&in, fd, b), &w->ends);
}

static struct err *need_stopped(const struct ward *w)
{
	return w->state == WARD_STOPPED ? NULL : err_new(ERR_BUSY, "the VMM runs; it takes no system calls now");
}

static struct err *do_ioctls(struct ward *w, char *calls, size_t bytes, uint32_t n, struct buf *out)
{
	struct batch b = { calls, n };
	struct err *e = need_stopped(w);

	if (!e)
		e = need_gadgets(w);
	while (!e && b.left)
		e = do_batch(w, &b);
	if (!e)
		buf_add(out, calls, bytes);
	return e;
}

/* Behind one another, with no regard to alignment. */
static void *take_array(const char **at, size_t n, size_t bytes)
{
	void *copy = xcalloc(n, bytes);

	if (n)
		memcpy(copy, *at, n * bytes);
	*at += n * bytes;
	return copy;
}

static struct err *do_fork(struct ward *w, const char *body, uint32_t n, struct buf *out)
{
	struct ward_fork head;
	struct vmm_range *ranges;
	struct vmm_forked forked;
	struct err *e = need_stopped(w);

	memcpy(&head, body, sizeof(head));
	body += sizeof(head);
	ranges = take_array(&body, n, sizeof(*ranges));
	if (!e)
		e = need_gadgets(w);
	if (!e)
		e = vmm_fork(&w->ts, &w->gadgets, ranges, n, head.uffd, &forked, &w->ends);
	free(ranges);
	if (e)
		return e;
	buf_add(out, &(int32_t){ forked.copy }, sizeof(int32_t));
	w->reply_fd = forked.uffd;
	return NULL;
}

/* ---- running armed ---- */

static struct err *start_armed(struct ward *w, const struct guardian_run *run, unsigned n_vcpus)
{
	struct err *e = need_stopped(w);

	if (!e)
		e = need_gadgets(w);
	if (!e && !w->armed)
		e = armed_create(&w->ts, &w->gadgets, &w->armed);
	if (e)
		return e;
	w->state = WARD_RUNNING;
	e = armed_start(w->armed, run, n_vcpus);
	if (!e)
		return NULL;
	err_destroy(halt(w));
	return e;
}

static struct err *do_run(struct ward *w, const char *body, unsigned n_vcpus)
{
	struct ward_run head;
	struct guardian_vcpu *vcpus;
	struct guardian_patch *patches;
	struct err *e;

	memcpy(&head, body, sizeof(head));
	body += sizeof(head);
	vcpus = take_array(&body, head.n_vcpus, sizeof(*vcpus));
	patches = take_array(&body, head.n_patches, sizeof(*patches));
	e = start_armed(w,
			&(struct guardian_run){ vcpus, head.n_vcpus, patches, head.n_patches, head.arm_new,
						head.new_debug },
			n_vcpus);
	free(vcpus);
	free(patches);
	return e;
}

/* ---- watching it run ---- */

static struct err *start_watch(struct ward *w, bool hold)
{
	struct err *e = w->state == WARD_FREE ? stop(w, 0) : NULL;

	if (!e)
		e = need_stopped(w);
	if (e)
		return e;
	disarm(w);
	if (!w->watch)
		w->watch = watch_create(&w->ts);
	w->state = WARD_WATCHING;
	return watch_run(w->watch, hold);
}

static struct err *do_watch(struct ward *w, bool hold)
{
	struct err *e = start_watch(w, hold);

	if (e)
		let_go(w);
	return e;
}

static struct err *do_seen(const struct ward *w, struct buf *out)
{
	if (!w->watch)
		return err_new(ERR_UNKNOWN, "process %d was not watched", w->pid);
	watched_put(watch_seen(w->watch), out);
	if (out->len > WARD_MAX_MESSAGE_BYTES - sizeof(struct ward_reply))
		return err_new(ERR_UNSUPPORTED, "process %d has too many memory slots", w->pid);
	return NULL;
}

/* ---- what happens meanwhile ---- */

static void send_event(const struct ward *w)
{
	const struct ward_reply event = { .kind = WARD_EVENT };

	/* Nobody to take it: the end of the file follows. */
	if (send(w->sock, &event, sizeof(event), MSG_NOSIGNAL) < 0)
		return;
	step_point("guardian", "event");
}

/* What the threads of a guest that is traced while it runs have come to. */
static void turn(struct ward *w)
{
	bool hit = false;
	struct err *e;

	if (!is_running(w)) {
		/* Before any wait: a request may have taken the signal and left the dead. */
		tracees_reap(&w->ts);
		return;
	}
	e = w->state == WARD_RUNNING ? armed_turn(w->armed, &hit) : watch_turn(w->watch, &hit);
	if (!e && !hit)
		return;
	w->run_error = e;
	e = halt(w);
	if (w->run_error)
		err_destroy(e);
	else
		w->run_error = e;
	send_event(w);
}

/* ---- requests ---- */

static struct err *dispatch(struct ward *w, const struct ward_request *r, char *body, size_t bytes, struct buf *out)
{
	if (w->state == WARD_STOPPED && tracees_reap(&w->ts))
		return err_new(ERR_GONE, "process %d has exited", w->pid);
	switch ((enum ward_op)r->op) {
	case WARD_STOP:
		return do_stop(w, r->n, out);
	case WARD_RESUME:
		let_go(w);
		return NULL;
	case WARD_IOCTLS:
		return do_ioctls(w, body, bytes, r->n, out);
	case WARD_RUN:
		return do_run(w, body, r->n);
	case WARD_WATCH:
		return do_watch(w, r->n != 0);
	case WARD_SEEN:
		return do_seen(w, out);
	case WARD_FORK:
		return do_fork(w, body, r->n, out);
	}
	return err_new(ERR_INVALID, "unknown request to the guardian");
}

static bool send_reply(const struct ward *w, const struct buf *out)
{
	struct iovec data = { out->data, out->len };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (w->reply_fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(c), &w->reply_fd, sizeof(int));
	}
	return sendmsg(w->sock, &msg, MSG_NOSIGNAL) == (ssize_t)out->len;
}

/* Answers with the header, and the body or the error's text. */
static bool answer(struct ward *w, struct err *e, struct buf *body)
{
	struct ward_reply reply = { .kind = e ? WARD_FAILED : WARD_DONE };
	struct buf out = { 0 };
	bool ok;

	if (e) {
		reply.code = (uint32_t)err_code(e);
		reply.errnum = err_errno(e);
	}
	buf_add(&out, &reply, sizeof(reply));
	if (e)
		buf_add(&out, err_text(e), strlen(err_text(e)) + 1);
	else
		buf_add(&out, body->data, body->len);
	ok = send_reply(w, &out);
	if (w->reply_fd >= 0)
		close(w->reply_fd);
	w->reply_fd = -1;
	step_point("guardian", "reply");
	buf_deinit(&out);
	buf_deinit(body);
	err_destroy(e);
	return ok;
}

/* False when it is time to end: the front end is gone, or what we hold cannot be let go of otherwise. */
static bool serve_one(struct ward *w, char *msg)
{
	ssize_t n = recv(w->sock, msg, WARD_MAX_MESSAGE_BYTES, 0);
	struct buf out = { 0 };
	struct ward_request r;
	struct err *e;

	if (n < (ssize_t)sizeof(r))
		return n < 0 && errno == EINTR;
	memcpy(&r, msg, sizeof(r));
	step_point("guardian", "request");
	e = dispatch(w, &r, msg + sizeof(r), (size_t)n - sizeof(r), &out);
	return answer(w, e, &out) && !w->ends && !(w->armed && armed_is_stuck(w->armed));
}

static int timeout(const struct ward *w)
{
	return w->state == WARD_RUNNING ? armed_timeout(w->armed) : -1;
}

static void ward_loop(struct ward *w, int sigchld)
{
	struct pollfd fds[2] = { { .fd = w->sock, .events = POLLIN }, { .fd = sigchld, .events = POLLIN } };
	char *msg = xmalloc(WARD_MAX_MESSAGE_BYTES);
	struct signalfd_siginfo info;

	for (;;) {
		turn(w);
		if (poll(fds, 2, timeout(w)) < 0 && errno != EINTR)
			break;
		while (fds[1].revents && read(sigchld, &info, sizeof(info)) > 0)
			;
		if (fds[0].revents && !serve_one(w, msg))
			break;
	}
	free(msg);
}

static int watch_children(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void ward_main(int sock, pid_t pid)
{
	struct ward w = { .sock = sock, .pid = pid, .ts = { .mem_fd = -1 }, .reply_fd = -1 };
	int sigchld;

	survivor_begin("vmgdb-guardian", &sock, 1);
	/* The guest stands still while it works; so it must not wait for other processes. */
	setpriority(PRIO_PROCESS, 0, -20);
	sigchld = watch_children();
	ward_loop(&w, sigchld);
	let_go(&w);
	_exit(0);
}
