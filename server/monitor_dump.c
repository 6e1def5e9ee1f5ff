/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "server/dumpjob.h"
#include "server/monitor_call.h"
#include "server/options.h"
#include "server/savejob.h"

/* ---- jobs ---- */

static void set_text(char **where, const char *text)
{
	free(*where);
	*where = text ? xstrdup(text) : NULL;
}

static void client_output(const struct monitor_client *client, const struct buf *b)
{
	if (b->len)
		client->output(client->arg, b->data, b->len);
}

static void on_progress(void *arg, const struct dump_progress *p)
{
	struct monitor_job *job = arg;
	struct buf out = { 0 };

	progress_update(&job->progress, p, &out);
	client_output(&job->client, &out);
	buf_deinit(&out);
}

/* "vmcore: 536870912 bytes in 0.8 s (640.0 MiB/s)" */
static void add_summary(const struct monitor_job *job, const struct dump_progress *p, struct buf *out)
{
	buf_addf(out, "%s: ", job->name);
	progress_format_total(p, out);
}

static void end_foreground(struct monitor_job *job, const struct dump_progress *p, struct err *e)
{
	struct monitor_client client = job->client;
	struct buf out = { 0 };

	progress_end(&job->progress, &out);
	if (!e) {
		add_summary(job, p, &out);
		buf_addch(&out, '\n');
	}
	client_output(&client, &out);
	buf_deinit(&out);
	set_text(&job->name, NULL);
	client.done(client.arg, e);
}

static void end_background(struct monitor_job *job, const struct dump_progress *p, struct err *e)
{
	const struct monitor_config *config = &job->monitor->config;
	struct buf out = { 0 };

	if (e)
		buf_adds(&out, err_text(e));
	else
		add_summary(job, p, &out);
	set_text(&job->name, NULL);
	config->dump_ended(config->arg, buf_str(&out), e && err_code(e) != ERR_CANCELLED);
	buf_deinit(&out);
	err_destroy(e);
}

static void on_end(void *arg, const struct dump_progress *p, struct err *e)
{
	struct monitor_job *job = arg;
	struct monitor *m = job->monitor;

	job->job = NULL;
	if (job->is_dump) {
		set_text(&m->dump.name, job->name);
		set_text(&m->dump.error, e ? err_text(e) : NULL);
		m->dump.progress = *p;
	}
	if (job == &m->background)
		end_background(job, p, e);
	else
		end_foreground(job, p, e);
}

/* In the foreground the command ends with the job. */
static void start(struct monitor_call *call, struct monitor_job *job, struct job_work work, bool is_dump,
		  const char *name)
{
	struct monitor *m = call->monitor;
	struct job_watcher watcher = { on_progress, on_end, job };

	call->later = job == &m->foreground;
	job->is_dump = is_dump;
	job->client = *call->client;
	job->progress = (struct progress){ .mode = call->later ? call->client->progress : PROGRESS_NONE };
	set_text(&job->name, name);
	job->job = job_start(m->config.loop, work, &watcher);
}

/* ---- dump-guest-memory ---- */

/* options has what the words say that are those of `vmgdbserver dump`, too. */
struct dump_words {
	bool background;
	struct options options;
	char *file;
};

static struct err *take_format(struct dump_words *w, enum dump_format format)
{
	w->options.dump.format = format;
	return NULL;
}

/* Letters are those of QEMU's command. */
static struct err *take_flag(struct dump_words *w, char letter)
{
	switch (letter) {
	case 'p':
		w->options.dump.paging = true;
		return NULL;
	case 'd':
		w->background = true;
		return NULL;
	case 'z':
		return take_format(w, DUMP_KDUMP_ZLIB);
	case 'l':
		return take_format(w, DUMP_KDUMP_LZO);
	case 's':
		return take_format(w, DUMP_KDUMP_SNAPPY);
	case 'R': /* raw, and not flattened: so it is without --flatten */
		return NULL;
	case 'w':
		return err_new(ERR_UNSUPPORTED, "-w: Windows dumps are not supported; without it an ELF vmcore is "
						"written");
	default:
		return err_new(ERR_INVALID, "unknown option -%c; there are -p, -d, -z, -l, -s and -R", letter);
	}
}

static const struct option_desc *find_option(const struct cursor *name)
{
	size_t n;
	const struct option_desc *table = options_table(&n);

	for (size_t i = 0; i < n; i++)
		if (table[i].modes & OPTION_IN_MONITOR && cursor_equals(name, table[i].name))
			return &table[i];
	return NULL;
}

/* "format=kdump-zlib", or "format" and another word of c; the dashes are gone. */
static struct err *take_long(struct cursor *c, struct cursor *word, struct dump_words *w)
{
	struct cursor name = cursor_take_until(word, "=");
	bool joined = cursor_take_char(word, '=');
	const struct option_desc *option = find_option(&name);
	struct err *e = NULL;
	char *text = cursor_dup(&name), *value = NULL;

	if (!option)
		e = err_new(ERR_INVALID, "unknown option --%s", text);
	else if (joined != (option->value != NULL) && !(option->value && cursor_take_word(c, word)))
		e = err_new(ERR_INVALID, "--%s %s", text, option->value ? "needs a value" : "takes no value");
	if (!e) {
		value = cursor_dup(word);
		e = option_set(option, &w->options, value);
	}
	free(text);
	free(value);
	return e;
}

static struct err *take_letters(struct cursor *word, struct dump_words *w)
{
	struct err *e = NULL;

	for (; !cursor_at_end(word) && !e; word->at++)
		e = take_flag(w, *word->at);
	return e;
}

/* "-p -d", "-pd", "--snapshot"; a lone "-" is none. */
static struct err *take_flags(struct cursor *c, struct dump_words *w)
{
	struct err *e = NULL;

	for (;;) {
		struct cursor at = *c, word;

		if (!cursor_take_word(&at, &word) || !cursor_take_char(&word, '-') || cursor_at_end(&word))
			return e;
		e = cursor_take_char(&word, '-') ? take_long(&at, &word, w) : take_letters(&word, w);
		if (e)
			return e;
		*c = at;
	}
}

static struct err *take_range(struct monitor_call *call, struct options *o)
{
	struct err *e = NULL;

	cursor_skip_space(&call->args);
	o->has_begin = !cursor_at_end(&call->args);
	if (o->has_begin)
		e = call_take_number(call, &o->begin);
	cursor_skip_space(&call->args);
	if (!e && o->has_begin && !cursor_at_end(&call->args)) {
		o->has_length = true;
		e = call_take_number(call, &o->length);
	}
	return e ? e : call_end(call);
}

static struct err *check_file(const char *file)
{
	if (strcmp(file, "-"))
		return NULL;
	return err_new(ERR_INVALID, "standard output is not for memory here: name a file or fd:N");
}

static struct err *start_dump(struct monitor_call *call, const struct dump_words *w)
{
	struct monitor *m = call->monitor;
	struct job_work work;
	struct err *e = check_file(w->file);

	if (!e)
		e = dumpjob_prepare(m->config.hold, m->config.inherited, &w->options.dump, w->file,
				    w->options.snapshot, &work);
	if (e)
		return e;
	start(call, w->background ? &m->background : &m->foreground, work, true, w->file);
	return NULL;
}

struct err *monitor_dump_guest_memory(struct monitor_call *call)
{
	struct dump_words w = { 0 };
	struct err *e;

	if (call->monitor->background.job)
		return err_new(ERR_BUSY, "a dump to %s is being written: wait for it, or end it with dump-cancel",
			       call->monitor->background.name);
	e = take_flags(&call->args, &w);
	if (!e)
		e = call_take_file(call, &w.file);
	if (!e)
		e = take_range(call, &w.options);
	if (!e)
		e = options_check_dump(&w.options, w.file);
	if (!e)
		e = start_dump(call, &w);
	free(w.file);
	return e;
}

struct err *monitor_dump_cancel(struct monitor_call *call)
{
	if (!call->monitor->background.job)
		return err_new(ERR_INVALID, "no dump is being written in the background");
	monitor_cancel_dump(call->monitor);
	return NULL;
}

static void add_dump(const char *name, const struct dump_progress *p, struct buf *out)
{
	static const char *const states[] = {
		[DUMP_ACTIVE] = "active",
		[DUMP_COMPLETED] = "completed",
		[DUMP_FAILED] = "failed",
		[DUMP_CANCELLED] = "cancelled",
	};
	double part = p->total_bytes ? (double)p->done_bytes / (double)p->total_bytes : 1;

	buf_addf(out, "Status: %s\n", states[p->status]);
	buf_addf(out, "Finished: %.2f %%\n", 100 * part);
	buf_addf(out, "Bytes: %" PRIu64 " of %" PRIu64 "\n", p->done_bytes, p->total_bytes);
	buf_addf(out, "Written: %" PRIu64 "\n", p->written_bytes);
	buf_addf(out, "Output: %s\n", name);
	if (*p->sha256)
		buf_addf(out, "SHA-256: %s\n", p->sha256);
}

struct err *monitor_info_dump(struct monitor_call *call)
{
	struct monitor *m = call->monitor;
	struct dump_progress p;

	if (m->background.job) {
		job_progress(m->background.job, &p);
		add_dump(m->background.name, &p, &call->out);
		return NULL;
	}
	if (!m->dump.name) {
		buf_adds(&call->out, "Status: none\n");
		return NULL;
	}
	add_dump(m->dump.name, &m->dump.progress, &call->out);
	if (m->dump.error)
		buf_addf(&call->out, "Error: %s\n", m->dump.error);
	return NULL;
}

/* ---- memsave, pmemsave ---- */

static struct err *start_save(struct monitor_call *call, const struct save_range *range, const char *file)
{
	struct monitor *m = call->monitor;
	struct job_work work;
	struct err *e = call_end(call);

	if (!e && !range->bytes)
		e = err_new(ERR_INVALID, "the size is 0");
	if (!e)
		e = check_file(file);
	if (!e)
		e = savejob_prepare(m->config.hold, m->config.inherited, range, file, &work);
	if (!e)
		start(call, &m->foreground, work, false, file);
	return e;
}

static struct err *save(struct monitor_call *call, bool is_virtual)
{
	struct save_range range = { .is_virtual = is_virtual, .vcpu = call->monitor->cpu };
	char *file = NULL;
	struct err *e = call_take_number(call, &range.at);

	if (!e)
		e = call_take_number(call, &range.bytes);
	if (!e)
		e = call_take_file(call, &file);
	if (!e)
		e = start_save(call, &range, file);
	free(file);
	return e;
}

struct err *monitor_memsave(struct monitor_call *call)
{
	return save(call, true);
}

struct err *monitor_pmemsave(struct monitor_call *call)
{
	return save(call, false);
}
