/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_DUMPING_H
#define TESTS_DUMPING_H

#include "base/buf.h"
#include "dump/dump.h"

/* What the tests of dumps share. Everything here asserts. */

extern char dir[64];  /* a new directory of each test */
extern char out[128]; /* a name in it */

void set_up(void);
void tear_down(void);
/* How many names the directory has, hidden ones too. */
int count_files(void);

void ok(struct err *e);
/* One line that has this text; ends e. */
void fails(struct err *e, enum err_code code, const char *text);

struct guest_image *image_of(struct guest *g);
struct dump_plan *plan_of(struct guest_image *img, const struct dump_options *opt);
struct dump_job *job_of(struct dump_plan *p, struct dump_sink *s);
struct dump_job *job_to_path(struct guest_image *img, const struct dump_options *opt, const char *path);

/* Waits as an event loop does. */
void wait_for(const struct dump_job *job);
/* To its end, whatever that is. */
void run(struct dump_job *job);
void run_well(struct dump_job *job);
/* Until something is written, but not all of it. */
void begin(struct dump_job *job);
/* The same in one thread with what reads its output: no write may block. Caller ends what came. */
struct buf pump(struct dump_job *job, int from);
/* 0: a pipe, 1: sockets; [0] is to be read. */
void make_channel(int kind, int fds[2]);

void dump_to(struct guest *g, const struct dump_options *opt, const char *path);
/* The same of an image, with what the job said at its end. */
void dump_image(struct guest_image *img, const struct dump_options *opt, const char *path, struct dump_progress *ret);
struct buf read_file(const char *path);

#endif
