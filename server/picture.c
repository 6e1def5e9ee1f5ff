/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/picture.h"

#include "base/log.h"
#include "linux/linux.h"

static struct err *go_on(struct hold *hold, struct guest *snapshot, struct picture *ret)
{
	struct err *e = hold_drop(hold);

	if (e) {
		guest_destroy(snapshot);
		return e;
	}
	snapshot->os = linux_os_create(snapshot);
	*ret = (struct picture){ .guest = snapshot, .snapshot = snapshot };
	return NULL;
}

struct err *picture_take(struct hold *hold, bool snapshot, struct picture *ret)
{
	struct guest *taken;
	struct err *e;

	if (snapshot)
		guest_prepare_snapshot(hold->guest);
	e = hold_take(hold);
	if (e)
		return e;
	e = snapshot ? guest_snapshot(hold->guest, &taken) : NULL;
	if (snapshot && !e)
		return go_on(hold, taken, ret);
	if (e && err_code(e) != ERR_UNSUPPORTED)
		return hold_drop_after(hold, e);
	if (e)
		log_warn("%s; the guest stays paused while the dump is written", err_text(e));
	err_destroy(e);
	*ret = (struct picture){ .guest = hold->guest, .hold = hold };
	return NULL;
}

struct err *picture_end(struct picture *p, struct err *first)
{
	guest_destroy(p->snapshot);
	return p->hold ? hold_drop_after(p->hold, first) : first;
}
