/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/guardian.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "guest/step.h"
#include "guest/ward.h"

/* Longer than the guardian's own time-outs together. */
#define REPLY_TIMEOUT_MS 10000
#define END_TIMEOUT_MS 5000

struct guardian {
	int sock;
	pid_t self; /* the guardian's pid */
	pid_t vmm;
	bool event; /* has come, and was not taken */
	int fd;     /* that came with the last reply; -1: none */
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
		ward_main(pair[1], pid);
	close(pair[1]);
	if (child < 0) {
		close(pair[0]);
		return err_sys(errno, "cannot start the guardian process");
	}
	g = xmalloc(sizeof(*g));
	*g = (struct guardian){ .sock = pair[0], .self = child, .vmm = pid, .fd = -1 };
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

bool guardian_ended(const struct guardian *g)
{
	struct pollfd fd = { .fd = g->sock };

	return poll(&fd, 1, 0) == 1;
}

bool guardian_take_event(struct guardian *g)
{
	struct ward_reply event;
	bool came = g->event;

	if (!came)
		came = recv(g->sock, &event, sizeof(event), MSG_DONTWAIT) == sizeof(event);
	g->event = false;
	return came;
}

static struct err *guardian_gone(const struct guardian *g)
{
	return err_new(ERR_GONE, "the guardian process of VMM %d has ended; the guest runs on by itself", g->vmm);
}

/* One message, and the descriptor that came with it. */
static ssize_t take_message(struct guardian *g, struct buf *in)
{
	struct iovec data = { buf_extend(in, WARD_MAX_MESSAGE_BYTES), WARD_MAX_MESSAGE_BYTES };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(g->sock, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);

	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&g->fd, CMSG_DATA(c), sizeof(int));
	return n;
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
	n = take_message(g, in);
	if (n < (ssize_t)sizeof(struct ward_reply))
		return guardian_gone(g);
	in->len = (size_t)n;
	return NULL;
}

/* The reply itself; an event that comes first is kept. */
static struct err *receive_reply(struct guardian *g, struct buf *in, struct ward_reply *ret)
{
	for (;;) {
		struct err *e = receive(g, in);

		if (e)
			return e;
		memcpy(ret, in->data, sizeof(*ret));
		if (ret->kind != WARD_EVENT)
			return NULL;
		g->event = true;
	}
}

/* Sends a request (a struct ward_request and its body) and waits for the reply; msg is then what follows its header. */
static struct err *ask(struct guardian *g, struct buf *msg)
{
	struct ward_reply reply;
	struct err *e;

	assert(msg->len <= WARD_MAX_MESSAGE_BYTES);
	if (send(g->sock, msg->data, msg->len, MSG_NOSIGNAL) != (ssize_t)msg->len)
		return guardian_gone(g);
	step_point("front", "request");
	e = receive_reply(g, msg, &reply);
	step_point("front", "reply");
	if (e)
		return e;
	buf_drop(msg, sizeof(reply));
	if (reply.kind == WARD_DONE)
		return NULL;
	return err_rebuild((enum err_code)reply.code, reply.errnum, msg->data);
}

static void put_request(struct buf *msg, enum ward_op op, uint32_t n)
{
	struct ward_request r = { op, n };

	buf_add(msg, &r, sizeof(r));
}

/* n elements off the front of msg, copied for the caller to free. */
static void *take_array(struct buf *msg, size_t n, size_t bytes)
{
	void *copy = xcalloc(n, bytes);

	if (n)
		memcpy(copy, msg->data, n * bytes);
	buf_drop(msg, n * bytes);
	return copy;
}

static void take_stopped(struct buf *msg, struct guardian_stopped *ret)
{
	struct ward_stopped head;

	memcpy(&head, msg->data, sizeof(head));
	buf_drop(msg, sizeof(head));
	*ret = (struct guardian_stopped){ .parked = head.parked, .undisturbed = head.undisturbed,
					  .n_hits = head.n_hits, .n_left = head.n_left };
	ret->hits = take_array(msg, head.n_hits, sizeof(*ret->hits));
	ret->left = take_array(msg, head.n_left, sizeof(*ret->left));
}

struct err *guardian_stop(struct guardian *g, unsigned n_vcpus, struct guardian_stopped *ret)
{
	struct buf msg = { 0 };
	struct err *e;

	put_request(&msg, WARD_STOP, n_vcpus);
	e = ask(g, &msg);
	g->event = false;
	if (!e)
		take_stopped(&msg, ret);
	buf_deinit(&msg);
	return e;
}

void guardian_stopped_deinit(struct guardian_stopped *s)
{
	free(s->hits);
	free(s->left);
	*s = (struct guardian_stopped){ 0 };
}

struct err *guardian_resume(struct guardian *g)
{
	struct buf msg = { 0 };
	struct err *e;

	put_request(&msg, WARD_RESUME, 0);
	e = ask(g, &msg);
	buf_deinit(&msg);
	return e;
}

struct err *guardian_run(struct guardian *g, const struct guardian_run *run, unsigned n_vcpus)
{
	struct ward_run head = { (uint32_t)run->n_vcpus, (uint32_t)run->n_patches, run->arm_new, run->new_debug };
	struct buf msg = { 0 };
	struct err *e;

	put_request(&msg, WARD_RUN, n_vcpus);
	buf_add(&msg, &head, sizeof(head));
	buf_add(&msg, run->vcpus, run->n_vcpus * sizeof(*run->vcpus));
	buf_add(&msg, run->patches, run->n_patches * sizeof(*run->patches));
	if (msg.len > WARD_MAX_MESSAGE_BYTES)
		e = err_new(ERR_UNSUPPORTED, "%zu vCPUs with %zu breakpoints are too many at once", run->n_vcpus,
			    run->n_patches);
	else
		e = ask(g, &msg);
	buf_deinit(&msg);
	return e;
}

struct err *guardian_watch(struct guardian *g, bool hold)
{
	struct buf msg = { 0 };
	struct err *e;

	put_request(&msg, WARD_WATCH, hold);
	e = ask(g, &msg);
	buf_deinit(&msg);
	return e;
}

struct err *guardian_seen(struct guardian *g, struct watched *ret)
{
	struct buf msg = { 0 };
	struct err *e;

	put_request(&msg, WARD_SEEN, 0);
	e = ask(g, &msg);
	if (!e)
		e = watched_take(&msg, ret);
	buf_deinit(&msg);
	return e;
}

static void put_calls(struct buf *msg, const struct guardian_ioctl *calls, size_t n)
{
	put_request(msg, WARD_IOCTLS, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		struct ward_call c = { calls[i].fd, (uint32_t)calls[i].bytes, calls[i].request, 0,
				       calls[i].pointer_at, calls[i].points_to };

		buf_add(msg, &c, sizeof(c));
		buf_add(msg, calls[i].data, calls[i].bytes);
	}
}

static void take_calls(const struct buf *msg, struct guardian_ioctl *calls, size_t n)
{
	const char *at = msg->data;

	for (size_t i = 0; i < n; i++) {
		struct ward_call c;

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
	struct err *e;

	put_calls(&msg, calls, n);
	e = ask(g, &msg);
	if (!e)
		take_calls(&msg, calls, n);
	buf_deinit(&msg);
	return e;
}

struct err *guardian_fork(struct guardian *g, const struct vmm_range *ranges, size_t n, bool uffd,
			  struct vmm_forked *ret)
{
	struct ward_fork head = { uffd };
	struct buf msg = { 0 };
	int32_t pid;
	struct err *e;

	put_request(&msg, WARD_FORK, (uint32_t)n);
	buf_add(&msg, &head, sizeof(head));
	g->fd = -1;
	buf_add(&msg, ranges, n * sizeof(*ranges));
	if (msg.len > WARD_MAX_MESSAGE_BYTES)
		e = err_new(ERR_UNSUPPORTED, "%zu pieces of memory are too many to be copied", n);
	else
		e = ask(g, &msg);
	if (!e) {
		memcpy(&pid, msg.data, sizeof(pid));
		*ret = (struct vmm_forked){ pid, g->fd };
	}
	buf_deinit(&msg);
	return e;
}
