/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/guardian.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "guest/inject.h"
#include "guest/step.h"
#include "guest/tracee.h"

/* One message each way: a header, then what its op has. Both ends are the same program. */
enum op {
	OP_STOP,   /* n: vCPUs; answer n: parked ones */
	OP_RESUME,
	OP_IOCTLS, /* n calls, each a struct call and its data; the answer the same */
};

struct request {
	uint32_t op;
	uint32_t n;
};

struct reply {
	uint32_t failed;
	uint32_t code; /* enum err_code; the text follows */
	int32_t errnum;
	uint32_t n;
};

struct call {
	int32_t fd;
	uint32_t bytes;
	uint64_t request;
	int64_t result;
};

#define MAX_MESSAGE_BYTES 131072u
/* Longer than the guardian's own time-outs together. */
#define REPLY_TIMEOUT_MS 10000
#define END_TIMEOUT_MS 5000

/* ---- the guardian's side ---- */

struct ward {
	int sock;
	pid_t pid;
	bool stopped;
	bool ends; /* with the next answer: only a tracer's end lets go of a thread that is not at rest */
	struct tracees ts;
	struct vcpu_thread *hints;
	size_t n_hints;
	struct host_gadgets gadgets;
	bool has_gadgets;
};

static void let_go(struct ward *w)
{
	if (w->stopped && !tracees_release(&w->ts))
		w->ends = true;
	w->stopped = false;
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

static struct err *do_stop(struct ward *w, unsigned n_vcpus, uint32_t *ret_parked)
{
	struct err *e;

	let_go(w);
	w->stopped = true;
	e = tracees_stop(&w->ts, w->pid, n_vcpus, w->hints, w->n_hints);
	if (e) {
		let_go(w);
		return e;
	}
	remember_threads(w);
	*ret_parked = (uint32_t)w->n_hints;
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

/* The calls stand in msg behind the request, and their answers take their places. */
struct batch {
	char *at;
	uint32_t left;
};

static int fd_of(const struct batch *b)
{
	struct call c;

	memcpy(&c, b->at, sizeof(c));
	return c.fd;
}

/* Those that are for one descriptor and stand together. */
static struct err *run_calls(struct injector *in, int fd, struct batch *b)
{
	struct err *e = NULL;

	while (!e && b->left && fd_of(b) == fd) {
		struct call c;
		long result;

		memcpy(&c, b->at, sizeof(c));
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
	struct err *end, *e = inject_begin(&w->ts, &w->gadgets, fd, &in);

	if (e)
		return e;
	e = run_calls(&in, fd, b);
	end = inject_end(&in);
	/* A thread that is stuck in a call of ours, or not put right again, finds its way back without us. */
	w->ends = (e && err_code(e) == ERR_TIMEOUT) || (end && err_code(end) != ERR_GONE);
	if (!e)
		return end;
	err_destroy(end);
	return e;
}

static struct err *do_ioctls(struct ward *w, char *calls, uint32_t n)
{
	struct batch b = { calls, n };
	struct err *e;

	if (!w->stopped)
		return err_new(ERR_BUSY, "the VMM runs; it takes no system calls now");
	e = need_gadgets(w);
	while (!e && b.left)
		e = do_batch(w, &b);
	return e;
}

static struct err *dispatch(struct ward *w, const struct request *r, char *body, uint32_t *ret_n)
{
	*ret_n = 0;
	if (w->stopped && tracees_reap(&w->ts))
		return err_new(ERR_GONE, "process %d has exited", w->pid);
	switch ((enum op)r->op) {
	case OP_STOP:
		return do_stop(w, r->n, ret_n);
	case OP_RESUME:
		let_go(w);
		return NULL;
	case OP_IOCTLS:
		return do_ioctls(w, body, r->n);
	}
	return err_new(ERR_INVALID, "unknown request to the guardian");
}

/* Answers with the header, and the body or the error's text. */
static bool answer(struct ward *w, struct err *e, uint32_t n, const char *body, size_t bytes)
{
	struct reply reply = { .failed = e != NULL, .n = n };
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
		buf_add(&out, body, bytes);
	ok = send(w->sock, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len;
	step_point("guardian", "reply");
	buf_deinit(&out);
	err_destroy(e);
	return ok;
}

/* False when it is time to end: the front end is gone, or what we hold cannot be let go of otherwise. */
static bool serve_one(struct ward *w, char *msg)
{
	ssize_t n = recv(w->sock, msg, MAX_MESSAGE_BYTES, 0);
	struct request r;
	uint32_t ret_n;
	struct err *e;

	if (n < (ssize_t)sizeof(r))
		return n < 0 && errno == EINTR;
	memcpy(&r, msg, sizeof(r));
	step_point("guardian", "request");
	e = dispatch(w, &r, msg + sizeof(r), &ret_n);
	return answer(w, e, ret_n, msg + sizeof(r), r.op == OP_IOCTLS ? (size_t)n - sizeof(r) : 0) && !w->ends;
}

static void guardian_loop(struct ward *w, int sigchld)
{
	struct pollfd fds[2] = { { .fd = w->sock, .events = POLLIN }, { .fd = sigchld, .events = POLLIN } };
	char *msg = xmalloc(MAX_MESSAGE_BYTES);
	struct signalfd_siginfo info;

	for (;;) {
		/* Before any wait: a request may have taken the signal and left the dead. */
		tracees_reap(&w->ts);
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		while (fds[1].revents && read(sigchld, &info, sizeof(info)) > 0)
			;
		if (fds[0].revents && !serve_one(w, msg))
			break;
	}
	free(msg);
}

/* Nothing of the front end's may stay open here: its clients would wait for an end that does not come. */
static void close_inherited(int keep)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (keep > 3)
		close_range(3, (unsigned)keep - 1, 0);
	close_range((unsigned)keep + 1, ~0u, 0);
}

static void be_unkillable(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t n = write(fd, "-1000", 5);

		(void)n; /* without CAP_SYS_RESOURCE it stays as it is */
		close(fd);
	}
}

static int ignore_signals(void)
{
	sigset_t set;

	for (int s = 1; s < NSIG; s++)
		if (s != SIGCHLD && s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static NORETURN void guardian_main(int sock, pid_t pid)
{
	struct ward w = { .sock = sock, .pid = pid, .ts = { .mem_fd = -1 } };
	int sigchld;

	setsid();
	prctl(PR_SET_NAME, "vmgdb-guardian");
	close_inherited(sock);
	sigchld = ignore_signals();
	be_unkillable();
	guardian_loop(&w, sigchld);
	let_go(&w);
	_exit(0);
}

/* ---- the front end's side ---- */

struct guardian {
	int sock;
	pid_t self; /* the guardian's pid */
	pid_t vmm;
};

struct err *guardian_start(pid_t pid, struct guardian **ret)
{
	struct guardian *g;
	int pair[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_sys(errno, "cannot make a socket for the guardian process");
	child = fork();
	if (child == 0)
		guardian_main(pair[1], pid);
	close(pair[1]);
	if (child < 0) {
		close(pair[0]);
		return err_sys(errno, "cannot start the guardian process");
	}
	g = xmalloc(sizeof(*g));
	*g = (struct guardian){ pair[0], child, pid };
	*ret = g;
	return NULL;
}

/* True when it has ended within the time. */
static bool wait_for_end(const struct guardian *g, int ms)
{
	int fd = (int)syscall(SYS_pidfd_open, g->self, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int rc;

	do {
		rc = poll(&p, 1, ms);
	} while (rc < 0 && errno == EINTR);
	if (fd >= 0)
		close(fd);
	return rc == 1;
}

void guardian_destroy(struct guardian *g)
{
	if (!g)
		return;
	close(g->sock);
	/* One that somebody has stopped does not hear us; its end lets the VMM go as well. */
	if (!wait_for_end(g, END_TIMEOUT_MS))
		kill(g->self, SIGKILL);
	while (waitpid(g->self, NULL, 0) < 0 && errno == EINTR)
		;
	free(g);
}

int guardian_fd(const struct guardian *g)
{
	return g->sock;
}

static struct err *guardian_gone(const struct guardian *g)
{
	return err_new(ERR_GONE, "the guardian process of VMM %d has ended; the guest runs on by itself", g->vmm);
}

static struct err *receive(struct guardian *g, struct buf *in)
{
	struct pollfd fd = { .fd = g->sock, .events = POLLIN };
	ssize_t n;
	int rc;

	do {
		rc = poll(&fd, 1, REPLY_TIMEOUT_MS);
	} while (rc < 0 && errno == EINTR);
	if (rc == 0) {
		/* A late answer would be taken for the next one's; the guardian takes this for our end. */
		shutdown(g->sock, SHUT_RDWR);
		return err_new(ERR_TIMEOUT, "the guardian process of VMM %d does not answer", g->vmm);
	}
	buf_reset(in);
	n = recv(g->sock, buf_extend(in, MAX_MESSAGE_BYTES), MAX_MESSAGE_BYTES, 0);
	if (n < (ssize_t)sizeof(struct reply))
		return guardian_gone(g);
	in->len = (size_t)n;
	return NULL;
}

/* Sends a request (a struct request and its body) and waits for the answer, header included, in msg. */
static struct err *ask(struct guardian *g, struct buf *msg, struct reply *ret)
{
	struct err *e;

	assert(msg->len <= MAX_MESSAGE_BYTES);
	if (send(g->sock, msg->data, msg->len, MSG_NOSIGNAL) != (ssize_t)msg->len)
		return guardian_gone(g);
	step_point("front", "request");
	e = receive(g, msg);
	step_point("front", "reply");
	if (e)
		return e;
	memcpy(ret, msg->data, sizeof(*ret));
	if (!ret->failed)
		return NULL;
	return err_rebuild((enum err_code)ret->code, ret->errnum, msg->data + sizeof(*ret));
}

static struct err *ask_simple(struct guardian *g, enum op op, uint32_t n, struct reply *ret)
{
	struct request r = { op, n };
	struct buf msg = { 0 };
	struct err *e;

	buf_add(&msg, &r, sizeof(r));
	e = ask(g, &msg, ret);
	buf_deinit(&msg);
	return e;
}

struct err *guardian_stop(struct guardian *g, unsigned n_vcpus, unsigned *ret_parked)
{
	struct reply reply;
	struct err *e = ask_simple(g, OP_STOP, n_vcpus, &reply);

	if (!e)
		*ret_parked = reply.n;
	return e;
}

struct err *guardian_resume(struct guardian *g)
{
	struct reply reply;

	return ask_simple(g, OP_RESUME, 0, &reply);
}

static void put_calls(struct buf *msg, const struct guardian_ioctl *calls, size_t n)
{
	struct request r = { OP_IOCTLS, (uint32_t)n };

	buf_add(msg, &r, sizeof(r));
	for (size_t i = 0; i < n; i++) {
		struct call c = { calls[i].fd, (uint32_t)calls[i].bytes, calls[i].request, 0 };

		buf_add(msg, &c, sizeof(c));
		buf_add(msg, calls[i].data, calls[i].bytes);
	}
}

static void take_calls(const struct buf *msg, struct guardian_ioctl *calls, size_t n)
{
	const char *at = msg->data + sizeof(struct reply);

	for (size_t i = 0; i < n; i++) {
		struct call c;

		memcpy(&c, at, sizeof(c));
		calls[i].result = (long)c.result;
		if (calls[i].bytes)
			memcpy(calls[i].data, at + sizeof(c), calls[i].bytes);
		at += sizeof(c) + calls[i].bytes;
	}
}

struct err *guardian_ioctls(struct guardian *g, struct guardian_ioctl *calls, size_t n)
{
	struct buf msg = { 0 };
	struct reply reply;
	struct err *e;

	put_calls(&msg, calls, n);
	e = ask(g, &msg, &reply);
	if (!e)
		take_calls(&msg, calls, n);
	buf_deinit(&msg);
	return e;
}
