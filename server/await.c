/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/await.h"

#include <poll.h>

#include "base/log.h"
#include "guest/kvm_wait.h"
#include "server/loop.h"

struct awaiting {
	struct loop *loop;
	struct kvm_wait *wait;
	struct guest *guest;
	struct err *error;
};

static void on_news(void *arg, short revents)
{
	struct awaiting *a = arg;

	(void)revents;
	a->error = kvm_wait_poll(a->wait, &a->guest);
	if (a->error || a->guest)
		loop_quit(a->loop);
}

static void on_signal(void *arg, int signo)
{
	struct awaiting *a = arg;

	log_debug("signal %d: not waiting any longer", signo);
	loop_quit(a->loop);
}

struct err *await_guest(pid_t pid, unsigned vm, struct err *(*ready)(void *arg), void *arg, struct guest **ret)
{
	struct awaiting a = { 0 };
	struct err *e = kvm_wait_create(pid, vm, &a.wait);

	if (!e && ready)
		e = ready(arg);
	if (e) {
		kvm_wait_destroy(a.wait);
		return e;
	}
	a.loop = loop_create();
	e = loop_add_signals(a.loop, on_signal, &a);
	if (!e) {
		loop_add_fd(a.loop, kvm_wait_fd(a.wait), POLLIN, on_news, &a);
		loop_run(a.loop);
		e = a.error;
	}
	loop_destroy(a.loop);
	kvm_wait_destroy(a.wait);
	*ret = a.guest;
	return e;
}
