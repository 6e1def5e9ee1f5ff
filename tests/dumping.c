/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/dumping.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

char dir[64];
char out[128];

void set_up(void)
{
	strcpy(dir, "/tmp/check_dump.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	chmod(dir, 0755);
	snprintf(out, sizeof(out), "%s/out", dir);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

void tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* How many names the directory has, hidden ones too. */
int count_files(void)
{
	char command[128];
	FILE *p;
	int n = -1;

	snprintf(command, sizeof(command), "ls -A %s | wc -l", dir);
	p = popen(command, "r");
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(fscanf(p, "%d", &n), 1);
	pclose(p);
	return n;
}

void ok(struct err *e)
{
	ck_assert_msg(!e, "%s", e ? err_text(e) : "");
}

void fails(struct err *e, enum err_code code, const char *text)
{
	ck_assert_ptr_nonnull(e);
	ck_assert_msg(err_code(e) == code && strstr(err_text(e), text) && !strchr(err_text(e), '\n'),
		      "code %d, text %s", (int)err_code(e), err_text(e));
	err_destroy(e);
}

/* ---- a dump from end to end ---- */

struct dump_job *job_of(struct dump_plan *p, struct dump_sink *s)
{
	struct dump_job *job = NULL;

	ok(dump_job_create(p, s, &job));
	return job;
}

/* Waits as an event loop does. */
void wait_for(const struct dump_job *job)
{
	struct dump_wait w;
	struct pollfd p;

	dump_job_wait(job, &w);
	p = (struct pollfd){ .fd = w.fd, .events = w.events };
	ck_assert_int_ge(poll(&p, 1, w.ms), 0);
}

void run(struct dump_job *job)
{
	while (dump_job_step(job))
		wait_for(job);
}

void run_well(struct dump_job *job)
{
	run(job);
	ck_assert_msg(!dump_job_error(job), "%s", dump_job_error(job) ? err_text(dump_job_error(job)) : "");
}

/* Steps it until something is written, but not all of it. */
void begin(struct dump_job *job)
{
	struct dump_progress p;

	do {
		ck_assert(dump_job_step(job));
		wait_for(job);
		dump_job_progress(job, &p);
		ck_assert_int_eq(p.status, DUMP_ACTIVE);
	} while (!p.done_bytes);
	ck_assert_uint_lt(p.done_bytes, p.total_bytes);
}

struct dump_plan *plan_of(struct guest_image *img, const struct dump_options *opt)
{
	struct dump_plan *p = NULL;

	ok(dump_plan_create(img, opt, &p));
	return p;
}

struct guest_image *image_of(struct guest *g)
{
	struct guest_image *img = NULL;

	ok(guest_image_create(g, &img));
	return img;
}

struct dump_job *job_to_path(struct guest_image *img, const struct dump_options *opt, const char *path)
{
	struct dump_plan *p = plan_of(img, opt);
	struct dump_sink *s = NULL;

	ok(dump_sink_open_path(path, dump_plan_data_bytes(p), &s));
	return job_of(p, s);
}

void dump_image(struct guest_image *img, const struct dump_options *opt, const char *path, struct dump_progress *ret)
{
	struct dump_job *job = job_to_path(img, opt, path);

	run_well(job);
	dump_job_progress(job, ret);
	ck_assert_int_eq(ret->status, DUMP_COMPLETED);
	ck_assert_uint_eq(ret->done_bytes, ret->total_bytes);
	dump_job_destroy(job);
}

void dump_to(struct guest *g, const struct dump_options *opt, const char *path)
{
	struct guest_image *img = image_of(g);
	struct dump_progress progress;

	dump_image(img, opt, path, &progress);
	guest_image_destroy(img);
}

struct buf read_file(const char *path)
{
	struct buf b = { 0 };
	FILE *f = fopen(path, "rb");
	struct stat st;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fstat(fileno(f), &st), 0);
	ck_assert_uint_eq(fread(buf_extend(&b, (size_t)st.st_size), 1, (size_t)st.st_size, f), (size_t)st.st_size);
	fclose(f);
	return b;
}

/* Steps the job and reads what it writes, in one thread: no write may block. */
struct buf pump(struct dump_job *job, int from)
{
	struct buf got = { 0 };
	char piece[65536];
	bool active = true;

	fcntl(from, F_SETFL, O_NONBLOCK);
	while (active) {
		ssize_t n;

		active = dump_job_step(job);
		while ((n = read(from, piece, sizeof(piece))) > 0)
			buf_add(&got, piece, (size_t)n);
		wait_for(job);
	}
	ck_assert_msg(!dump_job_error(job), "%s", dump_job_error(job) ? err_text(dump_job_error(job)) : "");
	return got;
}

void make_channel(int kind, int fds[2])
{
	if (kind == 0)
		ck_assert_int_eq(pipe(fds), 0);
	else
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

