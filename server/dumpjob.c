/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/dumpjob.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "server/output.h"
#include "server/picture.h"

struct dumpjob {
	struct picture picture;
	struct guest_image *image;
	struct dump_job *job;
};

static bool step(void *priv)
{
	struct dumpjob *d = priv;

	return dump_job_step(d->job);
}

static void wait(const void *priv, struct dump_wait *ret)
{
	const struct dumpjob *d = priv;

	dump_job_wait(d->job, ret);
}

static void cancel(void *priv)
{
	struct dumpjob *d = priv;

	dump_job_cancel(d->job);
}

static void progress(const void *priv, struct dump_progress *ret)
{
	const struct dumpjob *d = priv;

	dump_job_progress(d->job, ret);
}

static struct err *finish(void *priv)
{
	struct dumpjob *d = priv;
	const struct err *why = dump_job_error(d->job);
	struct err *e = why ? err_rebuild(err_code(why), err_errno(why), err_text(why)) : NULL;

	dump_job_destroy(d->job);
	guest_image_destroy(d->image);
	e = picture_end(&d->picture, e);
	free(d);
	return e;
}

static const struct job_ops ops = { step, wait, cancel, progress, finish };

/* Takes over sink. */
static struct err *prepare_job(struct guest_image *image, const struct dump_options *opt, struct dump_sink *sink,
			       struct dump_job **ret)
{
	struct dump_plan *plan = NULL;
	struct err *e = dump_plan_create(image, opt, &plan);

	if (!e)
		e = dump_sink_need(sink, dump_plan_data_bytes(plan));
	if (!e)
		return dump_job_create(plan, sink, ret);
	dump_plan_destroy(plan);
	dump_sink_destroy(sink);
	return e;
}

/* What the output needs, as far as a guest tells that runs; all of it is in the file. */
static uint64_t foresee(struct guest *g, const struct dump_options *opt)
{
	bool whole = opt->format == DUMP_ELF && !opt->wrap && !opt->leave_out && !opt->has_range;

	return whole ? guest_touched_bytes(g) : 0;
}

/* Where it is not known what the pages are for, the dump is a full one. */
static struct err *leave_out(struct guest_image *image, unsigned classes)
{
	struct err *e = guest_image_leave_out(image, classes);

	if (!e || err_code(e) != ERR_UNKNOWN)
		return e;
	log_warn("nothing is left out of the dump: %s", err_text(e));
	err_destroy(e);
	return NULL;
}

/* An error leaves the guest as it was. */
static struct err *take_image(struct hold *hold, const struct dump_options *opt, bool snapshot,
			      struct picture *ret_picture, struct guest_image **ret)
{
	struct picture picture;
	struct guest_image *image = NULL;
	struct err *e = picture_take(hold, snapshot, &picture);

	if (e)
		return e;
	e = guest_image_create(picture.guest, &image);
	if (!e)
		e = leave_out(image, opt->leave_out);
	if (e) {
		guest_image_destroy(image);
		return picture_end(&picture, e);
	}
	*ret_picture = picture;
	*ret = image;
	return NULL;
}

struct err *dumpjob_prepare(struct hold *hold, const struct inherited *inherited, const struct dump_options *opt,
			    const char *out, bool snapshot, struct job_work *ret)
{
	struct guest_image *image;
	struct dump_sink *sink = NULL;
	struct dump_job *job = NULL;
	struct picture picture;
	struct dumpjob *d;
	struct err *e = output_open(out, inherited, foresee(hold->guest, opt), &sink);

	if (!e)
		e = take_image(hold, opt, snapshot, &picture, &image);
	if (e) {
		dump_sink_destroy(sink);
		return e;
	}
	e = prepare_job(image, opt, sink, &job);
	if (e) {
		guest_image_destroy(image);
		return picture_end(&picture, e);
	}
	d = xmalloc(sizeof(*d));
	*d = (struct dumpjob){ picture, image, job };
	*ret = (struct job_work){ &ops, d };
	return NULL;
}

struct err *dumpjob_estimate(struct hold *hold, const struct dump_options *opt, bool snapshot,
			     struct dump_estimate *ret)
{
	struct guest_image *image;
	struct picture picture;
	struct err *e = take_image(hold, opt, snapshot, &picture, &image);

	if (e)
		return e;
	e = dump_estimate(image, opt, ret);
	guest_image_destroy(image);
	return picture_end(&picture, e);
}
