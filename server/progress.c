/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/progress.h"

#include <inttypes.h>

static void add_size(struct buf *out, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	size_t unit = 0;

	for (; bytes >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
		bytes /= 1024;
	buf_addf(out, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

static double rate(const struct dump_progress *p)
{
	return p->seconds > 0 ? (double)p->done_bytes / p->seconds : 0;
}

void progress_format(const struct dump_progress *p, struct buf *out)
{
	double speed = rate(p);

	add_size(out, (double)p->done_bytes);
	buf_adds(out, " of ");
	add_size(out, (double)p->total_bytes);
	buf_addf(out, " (%.0f%%)", p->total_bytes ? 100.0 * (double)p->done_bytes / (double)p->total_bytes : 100.0);
	if (speed <= 0)
		return;
	buf_adds(out, ", ");
	add_size(out, speed);
	buf_addf(out, "/s, %.0f s left", (double)(p->total_bytes - p->done_bytes) / speed);
}

void progress_format_total(const struct dump_progress *p, struct buf *out)
{
	bool fewer = p->written_bytes && p->written_bytes < p->done_bytes;

	buf_addf(out, "%" PRIu64 " bytes%s in %.1f s (", p->done_bytes, fewer ? " of the guest" : "", p->seconds);
	add_size(out, rate(p));
	buf_adds(out, "/s)");
	if (!fewer)
		return;
	buf_adds(out, ", ");
	add_size(out, (double)p->written_bytes);
	buf_adds(out, " written");
}

void progress_format_estimate(const struct dump_estimate *e, struct buf *out)
{
	buf_adds(out, "about ");
	add_size(out, (double)e->data_bytes);
	buf_adds(out, " to write of a file of ");
	add_size(out, (double)e->file_bytes);
	buf_addf(out, ", in about %.0f s and what the disk takes\n", e->seconds);
}

void progress_update(struct progress *pr, const struct dump_progress *p, struct buf *out)
{
	double wait = pr->mode == PROGRESS_TERMINAL ? 0.1 : 1.0;

	if (pr->mode == PROGRESS_NONE || p->seconds < pr->last_seconds + wait)
		return;
	pr->last_seconds = p->seconds;
	pr->shown = true;
	if (pr->mode == PROGRESS_TERMINAL)
		buf_addch(out, '\r');
	progress_format(p, out);
	buf_adds(out, pr->mode == PROGRESS_TERMINAL ? "\033[K" : "\n");
}

void progress_end(struct progress *pr, struct buf *out)
{
	if (pr->shown && pr->mode == PROGRESS_TERMINAL)
		buf_adds(out, "\r\033[K");
	pr->shown = false;
}
