/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

/* A vCPU that runs comes to such a stop at its next instruction. */
#define LATE_STOP_US 10000u
#define LATE_STOP_LOOKS 5u
#define LATE_STOPS_MAX 64u

struct err *qemu_status_ask(struct qmp *q, struct qemu_status *ret)
{
	struct json_object *o;
	struct err *e = qmp_execute(q, "query-status", NULL, &o);

	if (e)
		return e;
	ret->running = json_object_get_boolean(json_object_object_get(o, "running"));
	snprintf(ret->word, sizeof(ret->word), "%s", qmp_string(o, "status"));
	json_object_put(o);
	return NULL;
}

bool qemu_word_is(const char *word, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(word, words[i]))
			return true;
	return false;
}

static bool is_ready(const struct qemu_status *s)
{
	static const char *const ready[] = { "paused", "prelaunch", "debug" };

	return qemu_word_is(s->word, ready, ARRAY_LEN(ready));
}

struct err *qemu_check_ready(const struct qemu_status *s)
{
	if (is_ready(s))
		return NULL;
	return err_new(ERR_UNSUPPORTED, "QEMU's guest cannot go on: its status is %s", s->word);
}

struct err *qemu_run(struct qmp *q, struct qemu_status *ret)
{
	struct err *e = qemu_status_ask(q, ret);

	if (e || !is_ready(ret))
		return e;
	e = qmp_run(q, "cont", NULL);
	return e ? e : qemu_status_ask(q, ret);
}

/* Whether it goes on running. */
static struct err *watch(struct qmp *q, struct qemu_status *ret)
{
	struct err *e = NULL;

	for (unsigned i = 0; !e && ret->running && i < LATE_STOP_LOOKS; i++) {
		usleep(LATE_STOP_US);
		e = qemu_status_ask(q, ret);
	}
	return e;
}

struct err *qemu_run_past_stops(struct qmp *q, struct qemu_status *ret)
{
	struct err *e = qemu_run(q, ret);

	for (unsigned i = 0; !e && i < LATE_STOPS_MAX; i++) {
		e = watch(q, ret);
		if (e || strcmp(ret->word, "debug") != 0)
			break;
		e = qemu_run(q, ret);
	}
	return e;
}
