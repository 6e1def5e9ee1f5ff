/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/vmm_uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* include/uapi/linux/userfaultfd.h of Linux 6.1; older headers lack it. */
#define NEW_UFFD_IOCTL _IO(0xaa, 0)

#define UFFD_FLAGS (O_CLOEXEC | O_NONBLOCK)

/* What recvmsg(2) needs, in the process's own scratch; the layout is that of all 64-bit hosts. */
struct letter {
	struct msghdr msg;
	struct iovec data;
	char byte[8];
	_Alignas(8) char control[CMSG_SPACE(sizeof(int))];
};

_Static_assert(sizeof(struct letter) <= INJECT_NOTE_BYTES, "a letter fits");

static struct err *take_fd(const struct injector *in, int fd, int *ret)
{
	int pidfd = (int)syscall(SYS_pidfd_open, in->t->tid, 0), got, errnum;

	if (pidfd < 0)
		return err_sys(errno, "cannot open process %d", in->t->tid);
	got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	errnum = errno;
	close(pidfd);
	if (got < 0)
		return err_sys(errnum, "cannot copy a descriptor of process %d", in->t->tid);
	*ret = got;
	return NULL;
}

static struct err *refused(const struct injector *in, long result)
{
	return err_new(ERR_UNSUPPORTED, "process %d cannot have its shared memory protected by userfaultfd: %s%s",
		       in->ts->pid, strerror((int)-result), result != -EPERM ? "" :
		       "; give it CAP_SYS_PTRACE, or be one who may open /dev/userfaultfd (Linux 6.1)");
}

/* ---- handing it a descriptor ---- */

static struct err *send_fd(int sock, int fd)
{
	struct letter l = { 0 };
	struct cmsghdr *c;

	l.data = (struct iovec){ l.byte, 1 };
	l.msg = (struct msghdr){ .msg_iov = &l.data, .msg_iovlen = 1, .msg_control = l.control,
				 .msg_controllen = sizeof(l.control) };
	c = CMSG_FIRSTHDR(&l.msg);
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &l.msg, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? NULL : err_sys(errno, "cannot send a descriptor");
}

/* *ret_ours: the other end of its socket, which is ours alone when it has closed all. */
static struct err *make_socket(struct injector *in, int *ret_theirs, int *ret_ours)
{
	const uint64_t args[6] = { AF_UNIX, SOCK_DGRAM, 0, in->scratch };
	long result;
	int pair[2];
	struct err *e = inject_syscall(in, SYS_socketpair, args, &result);

	if (!e && result < 0)
		return refused(in, result);
	if (!e)
		e = tracees_read(in->ts, in->scratch, pair, sizeof(pair));
	if (!e)
		e = take_fd(in, pair[1], ret_ours);
	if (!e)
		*ret_theirs = pair[0];
	return e;
}

static struct err *receive_fd(struct injector *in, int sock, int *ret)
{
	const uint64_t at = in->scratch, args[6] = { (uint64_t)sock, at, MSG_DONTWAIT };
	struct letter l = { 0 };
	const struct cmsghdr *c = (const struct cmsghdr *)l.control;
	long result;
	struct err *e;

	l.data = (struct iovec){ (void *)(uintptr_t)(at + offsetof(struct letter, byte)), 1 };
	l.msg = (struct msghdr){ .msg_iov = (void *)(uintptr_t)(at + offsetof(struct letter, data)), .msg_iovlen = 1,
				 .msg_control = (void *)(uintptr_t)(at + offsetof(struct letter, control)),
				 .msg_controllen = sizeof(l.control) };
	e = tracees_write(in->ts, at, &l, sizeof(l));
	if (!e)
		e = inject_syscall(in, SYS_recvmsg, args, &result);
	if (!e)
		e = tracees_read(in->ts, at, &l, sizeof(l));
	if (e)
		return e;
	/* A security module may have kept it. */
	if (result != 1 || l.msg.msg_controllen < CMSG_LEN(sizeof(int)) || c->cmsg_type != SCM_RIGHTS)
		return refused(in, result < 0 ? result : -EACCES);
	memcpy(ret, CMSG_DATA(c), sizeof(*ret));
	return NULL;
}

static struct err *hand_over(struct injector *in, int fd, int *ret_theirs)
{
	int theirs = -1, ours = -1;
	struct err *e = make_socket(in, &theirs, &ours);

	if (e)
		return e;
	e = send_fd(ours, fd);
	close(ours);
	return e ? e : receive_fd(in, theirs, ret_theirs);
}

/* ---- both ways ---- */

static struct err *ask_device(struct injector *in, long *ret)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), theirs = -1;
	uint64_t args[6] = { 0, NEW_UFFD_IOCTL, UFFD_FLAGS };
	struct err *e;

	if (device < 0)
		return refused(in, -EPERM);
	e = hand_over(in, device, &theirs);
	close(device);
	if (e)
		return e;
	args[0] = (uint64_t)theirs;
	return inject_syscall(in, SYS_ioctl, args, ret);
}

struct err *vmm_uffd(struct injector *in, int *ret)
{
	const uint64_t args[6] = { UFFD_FLAGS };
	long fd = 0;
	struct err *e = inject_syscall(in, SYS_userfaultfd, args, &fd);

	if (!e && fd == -EPERM)
		e = ask_device(in, &fd);
	if (!e && fd < 0)
		e = refused(in, fd);
	return e ? e : take_fd(in, (int)fd, ret);
}
