/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/result.h"

#include <json-c/json.h>
#include <sys/stat.h>

#include "guest/os.h"

static void add(struct json_object *o, const char *name, uint64_t value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
}

static void add_text(struct json_object *o, const char *name, const char *value)
{
	json_object_object_add(o, name, json_object_new_string(value));
}

static void add_seconds(struct json_object *o, const char *name, double value)
{
	json_object_object_add(o, name, json_object_new_double(value));
}

static void print(struct json_object *o, struct buf *out)
{
	buf_adds(out, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	buf_addch(out, '\n');
	json_object_put(o);
}

static struct json_object *pages_of(const struct dump_pages *p, unsigned leave_out)
{
	struct json_object *o = json_object_new_object(), *classes = json_object_new_object();

	add(o, "page_bytes", p->page_bytes);
	add(o, "written", p->written);
	add(o, "zero", p->zero);
	add(o, "untouched", p->untouched);
	add(o, "left_out", p->left_out);
	for (unsigned i = 0; i < N_PAGE_CLASSES; i++)
		if (leave_out & ~PAGES_ZERO & 1u << i)
			add(classes, page_class_names[i], p->classes[i]);
	json_object_object_add(o, "classes", classes);
	return o;
}

/* Of a file with holes its length, which is what its readers see. */
static uint64_t length_of(const struct dump_result *r)
{
	struct stat st;

	if (!r->error && stat(r->out, &st) == 0 && S_ISREG(st.st_mode))
		return (uint64_t)st.st_size;
	return r->progress->written_bytes;
}

static const char *status_of(const struct dump_result *r)
{
	if (!r->error)
		return "completed";
	return err_code(r->error) == ERR_CANCELLED ? "cancelled" : "failed";
}

void result_format(const struct dump_result *r, struct buf *out)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "status", status_of(r));
	if (r->error)
		add_text(o, "error", err_text(r->error));
	add_text(o, "path", r->out);
	add_text(o, "format", dump_format_name(r->options->format));
	if (r->progress) {
		add(o, "bytes", length_of(r));
		add(o, "written_bytes", r->progress->written_bytes);
		json_object_object_add(o, "pages", pages_of(&r->progress->pages, r->options->leave_out));
		add_seconds(o, "seconds", r->progress->seconds);
	}
	add_seconds(o, "pause_seconds", r->pause_seconds);
	if (r->progress && *r->progress->sha256)
		add_text(o, "sha256", r->progress->sha256);
	print(o, out);
}

void result_format_estimate(const struct dump_estimate *e, const struct dump_options *opt, struct buf *out)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "status", "estimated");
	add_text(o, "format", dump_format_name(opt->format));
	add(o, "bytes", e->file_bytes);
	add(o, "written_bytes", e->data_bytes);
	add_seconds(o, "seconds", e->seconds);
	print(o, out);
}
