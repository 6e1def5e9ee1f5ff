/* SPDX-License-Identifier: GPL-3.0-or-later */

/* A file that says it is a core: opened, read from end to end, and dumped again. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dump/dump.h"
#include "guest/backends.h"
#include "guest/os.h"
#include "linux/linux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* How much of its memory is looked at: a small file may have much of it. */
#define MAX_READS 64

static void read_memory(struct guest *g)
{
	uint64_t gpa = 0, run = 1;

	for (int i = 0; i < MAX_READS && run; i++) {
		uint8_t piece[5000];
		size_t got;
		struct err *e = guest_next_data(g, gpa, 0, &gpa, &run);

		if (!e && run)
			e = guest_read_phys(g, gpa, piece, sizeof(piece), &got);
		if (e)
			run = 0;
		err_destroy(e);
		gpa += MIN(run, sizeof(piece));
	}
}

static const struct dump_options DUMPS[] = {
	{ .format = DUMP_ELF },
	{ .paging = true },
	{ .format = DUMP_KDUMP_ZLIB, .flatten = true, .leave_out = PAGES_ALL },
};

static void dump(struct guest *g, const struct dump_options *opt)
{
	struct guest_image *img = NULL;
	struct dump_plan *p = NULL;
	struct dump_sink *s = NULL;
	struct dump_job *job = NULL;
	struct err *e = guest_image_create(g, &img);

	if (!e)
		err_destroy(guest_image_leave_out(img, opt->leave_out));
	if (!e)
		e = dump_plan_create(img, opt, &p);
	if (!e)
		e = dump_sink_open_path("/dev/null", 0, &s);
	if (!e)
		e = dump_job_create(p, s, &job);
	else
		dump_plan_destroy(p);
	for (int i = 0; job && i < 4 && dump_job_step(job); i++)
		;
	dump_job_destroy(job);
	err_destroy(e);
	guest_image_destroy(img);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	int fd = memfd_create("core", MFD_CLOEXEC);
	struct guest *g = NULL;
	char path[64];
	struct err *e;

	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	e = guest_open_core(path, &g);
	if (!e) {
		g->os = linux_os_create(g);
		read_memory(g);
		for (size_t i = 0; i < ARRAY_LEN(DUMPS); i++)
			dump(g, &DUMPS[i]);
		guest_destroy(g);
	}
	err_destroy(e);
	close(fd);
	return 0;
}
