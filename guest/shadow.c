/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/shadow.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "guest/proc.h"

/* What is put aside at once: a fault costs more than to copy this much. */
#define CHUNK_BYTES 65536u
#define MAX_MESSAGES 16

/* Documentation/admin-guide/mm/pagemap.rst: the page cannot have been written since it was protected. */
#define PAGEMAP_PROTECTED (1ull << 57)
#define PAGEMAP_PRESENT (1ull << 63)

enum chunk_state {
	CHUNK_LIVE, /* as it is in the file, wherever that is protected still */
	CHUNK_SAVED,
	CHUNK_LOST,
};

struct run {
	uint64_t start, end;
};

/* One mapping. */
struct region {
	uint64_t start, end;
	int file;             /* that is mapped */
	uint64_t file_offset; /* of start */
	uint64_t page_bytes;
	bool hugetlb;
	uint64_t chunk_bytes;
	uint64_t store_offset;
	struct run *runs; /* that held data at the instant; the rest was zeros */
	size_t n_runs;
	uint8_t *states;  /* one a chunk, from the region's start on */
};

struct shadow {
	pid_t pid;
	int uffd, store, pagemap_fd, end_fd;
	uint64_t page_bytes;
	void *zeros; /* a page of the largest size that a region has */
	uint64_t zeros_bytes;
	struct region *regions;
	size_t n_regions;
	int oom_score; /* that we had before */
	bool runs; /* the thread does */
	pthread_t thread;
	char *buffer; /* CHUNK_BYTES, of the thread */
};

static struct region *region_at(const struct shadow *s, uint64_t hva)
{
	for (size_t i = 0; i < s->n_regions; i++)
		if (s->regions[i].start <= hva && hva < s->regions[i].end)
			return &s->regions[i];
	return NULL;
}

bool shadow_has(const struct shadow *s, uint64_t hva, uint64_t end, uint64_t *ret_end)
{
	const struct region *r = s ? region_at(s, hva) : NULL;

	*ret_end = r ? MIN(r->end, end) : end;
	for (size_t i = 0; s && !r && i < s->n_regions; i++)
		if (s->regions[i].start > hva)
			*ret_end = MIN(*ret_end, s->regions[i].start);
	return r != NULL;
}

/* The first run that ends above hva; n_runs when there is none. */
static size_t run_after(const struct region *r, uint64_t hva)
{
	size_t lo = 0, hi = r->n_runs;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->runs[mid].end <= hva)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The next data in [hva, end), as far as it adjoins; empty at end when there is none. */
static struct run next_run(const struct region *r, uint64_t hva, uint64_t end)
{
	size_t i = run_after(r, hva);

	if (i == r->n_runs || r->runs[i].start >= end)
		return (struct run){ end, end };
	return (struct run){ MAX(r->runs[i].start, hva), MIN(r->runs[i].end, end) };
}

void shadow_next_data(const struct shadow *s, uint64_t hva, uint64_t end, uint64_t *ret_hva, uint64_t *ret_bytes)
{
	struct run run = next_run(region_at(s, hva), hva, end);

	*ret_hva = run.start;
	*ret_bytes = run.end - run.start;
}

/* ---- memory as it is ---- */

static bool read_pagemap(const struct shadow *s, uint64_t hva, uint64_t *entries, uint64_t n)
{
	size_t bytes = n * sizeof(*entries);

	return pread(s->pagemap_fd, entries, bytes, (off_t)(hva / s->page_bytes * sizeof(*entries))) == (ssize_t)bytes;
}

static off_t to_file(const struct region *r, uint64_t hva)
{
	return (off_t)(hva - r->start + r->file_offset);
}

/* Not by SEEK_HOLE, which goes on to the end of all data. */
static bool is_in_file(const struct region *r, uint64_t hva)
{
	off_t at = to_file(r, hva);

	return lseek(r->file, at, SEEK_DATA) == at;
}

/*
 * Nobody but us takes the protection away, and nobody protects again: what is protected
 * has been since the instant. A page that was given back keeps its protection, but is no
 * longer there: not in the page tables, where a page may miss for other reasons too, nor
 * in the file. hugetlbfs does not tell of the file, but keeps its pages in the tables.
 */
static bool is_page_untouched(const struct region *r, uint64_t hva, uint64_t entry)
{
	if (!(entry & PAGEMAP_PROTECTED))
		return false;
	return entry & PAGEMAP_PRESENT || (!r->hugetlb && is_in_file(r, hva));
}

static bool is_untouched(const struct shadow *s, const struct region *r, uint64_t hva, size_t bytes)
{
	uint64_t entries[CHUNK_BYTES / 4096 + 1];
	uint64_t first = ALIGN_DOWN(hva, s->page_bytes), n = (hva + bytes - 1 - first) / s->page_bytes + 1;

	if (!read_pagemap(s, first, entries, n))
		return false;
	for (uint64_t i = 0; i < n; i++)
		if (!is_page_untouched(r, first + i * s->page_bytes, entries[i]))
			return false;
	return true;
}

/*
 * At most CHUNK_BYTES of the instant: false where they are not there any more. Reads the
 * file: through the VMM's mapping the thread would wait for itself where a page is missing.
 */
static bool read_live(const struct shadow *s, const struct region *r, uint64_t hva, void *ret, size_t bytes)
{
	return pread(r->file, ret, bytes, to_file(r, hva)) == (ssize_t)bytes && is_untouched(s, r, hva, bytes);
}

/* ---- the thread ---- */

static bool save_piece(struct shadow *s, const struct region *r, uint64_t hva, size_t bytes)
{
	off_t at = (off_t)(r->store_offset + (hva - r->start));

	return read_live(s, r, hva, s->buffer, bytes) && pwrite(s->store, s->buffer, bytes, at) == (ssize_t)bytes;
}

static bool save_chunk(struct shadow *s, const struct region *r, uint64_t start, uint64_t end)
{
	struct run run;

	for (uint64_t at = start; at < end; at = run.end) {
		run = next_run(r, at, end);
		run.end = MIN(run.end, run.start + CHUNK_BYTES);
		if (run.start < run.end && !save_piece(s, r, run.start, (size_t)(run.end - run.start)))
			return false;
	}
	return true;
}

/* Wakes those who wait, too. False: they would wait for ever. */
static bool unprotect(const struct shadow *s, uint64_t start, uint64_t end)
{
	struct uffdio_writeprotect wp = { .range = { start, end - start } };

	while (ioctl(s->uffd, UFFDIO_WRITEPROTECT, &wp)) {
		if (errno != EAGAIN && errno != EINTR)
			return false;
		/* The VMM's mappings change just now. */
		sched_yield();
	}
	return true;
}

static void unprotect_all(const struct shadow *s)
{
	for (size_t i = 0; i < s->n_regions; i++) {
		const struct region *r = &s->regions[i];
		struct uffdio_range range = { r->start, r->end - r->start };

		ioctl(s->uffd, UFFDIO_UNREGISTER, &range);
	}
}

static void set_state(uint8_t *state, enum chunk_state to)
{
	__atomic_store_n(state, to, __ATOMIC_RELEASE);
}

static uint8_t *state_of(const struct region *r, uint64_t hva)
{
	return &r->states[(hva - r->start) / r->chunk_bytes];
}

/* A write to a protected page. */
static void on_write(struct shadow *s, const struct region *r, uint64_t hva)
{
	uint8_t *state = state_of(r, hva);
	uint64_t start = r->start + (hva - r->start) / r->chunk_bytes * r->chunk_bytes;
	uint64_t end = MIN(start + r->chunk_bytes, r->end);

	if (*state == CHUNK_LIVE)
		set_state(state, save_chunk(s, r, start, end) ? CHUNK_SAVED : CHUNK_LOST);
	if (!unprotect(s, start, end))
		unprotect_all(s);
}

/* False: whoever waits for the page would do so for ever. */
static bool put_zeros(const struct shadow *s, const struct region *r, uint64_t hva)
{
	struct uffdio_copy copy = { .dst = hva, .src = (uintptr_t)s->zeros, .len = r->page_bytes };
	struct uffdio_range range = { hva, r->page_bytes };

	while (ioctl(s->uffd, UFFDIO_COPY, &copy)) {
		/* Somebody else was faster. */
		if (errno == EEXIST)
			return !ioctl(s->uffd, UFFDIO_WAKE, &range);
		if (errno != EAGAIN && errno != EINTR)
			return false;
		sched_yield();
	}
	return true;
}

/* The first use of a page that is not there: it never was, or was given back. */
static void on_missing(struct shadow *s, const struct region *r, uint64_t hva)
{
	uint64_t start = ALIGN_DOWN(hva, r->page_bytes);
	struct run data = next_run(r, start, start + r->page_bytes);
	uint8_t *state = state_of(r, hva);

	if (data.start < data.end && *state == CHUNK_LIVE)
		set_state(state, CHUNK_LOST);
	if (!put_zeros(s, r, start))
		unprotect_all(s);
}

static void on_fault(struct shadow *s, uint64_t hva, uint64_t fault_flags)
{
	const struct region *r = region_at(s, hva);

	if (r && fault_flags & UFFD_PAGEFAULT_FLAG_WP)
		on_write(s, r, hva);
	else if (r)
		on_missing(s, r, hva);
}

static void take_faults(struct shadow *s)
{
	struct uffd_msg msgs[MAX_MESSAGES];
	ssize_t n = read(s->uffd, msgs, sizeof(msgs));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(msgs[0]); i++)
		if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
			on_fault(s, msgs[i].arg.pagefault.address, msgs[i].arg.pagefault.flags);
}

static void *shadow_main(void *arg)
{
	struct shadow *s = arg;
	struct pollfd fds[2] = { { .fd = s->uffd, .events = POLLIN }, { .fd = s->end_fd, .events = POLLIN } };

	/* Of this thread: the guest waits for it. */
	setpriority(PRIO_PROCESS, 0, -20);
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			return NULL;
		/* POLLERR too: the VMM has exited, and the end is ours to wait for. */
		if (fds[0].revents & POLLIN)
			take_faults(s);
		else
			fds[0].fd = -1;
	}
}

/* ---- making it ---- */

static struct err *open_uffd(const struct shadow *s)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM };

	if (ioctl(s->uffd, UFFDIO_API, &api))
		return err_new(ERR_UNSUPPORTED, "this kernel cannot write-protect shared memory by userfaultfd (Linux 5.19)");
	return NULL;
}

static struct err *open_files(struct shadow *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", s->pid);
	s->pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->pagemap_fd < 0)
		return err_sys(errno, "cannot open %s", path);
	s->store = memfd_create("vmgdb-shadow", MFD_CLOEXEC);
	s->end_fd = eventfd(0, EFD_CLOEXEC);
	if (s->store < 0 || s->end_fd < 0)
		return err_sys(errno, "cannot put guest memory aside");
	return NULL;
}

static void add_run(struct region *r, uint64_t start, uint64_t end)
{
	struct run *last = r->n_runs ? &r->runs[r->n_runs - 1] : NULL;

	if (last && last->end >= start) {
		last->end = end;
		return;
	}
	/* Doubled at each power of two. */
	if (!(r->n_runs & (r->n_runs - 1)))
		r->runs = xreallocarray(r->runs, r->n_runs ? 2 * r->n_runs : 1, sizeof(*r->runs));
	r->runs[r->n_runs++] = (struct run){ start, end };
}

static struct err *find_data(struct region *r, struct vmm_mem *mem)
{
	for (uint64_t at = r->start; at < r->end;) {
		uint64_t start, bytes;
		struct err *e = vmm_mem_next_data(mem, at, r->end, &start, &bytes);

		if (e)
			return e;
		at = bytes ? ALIGN_UP(start + bytes, r->page_bytes) : r->end;
		if (bytes)
			add_run(r, ALIGN_DOWN(start, r->page_bytes), at);
	}
	return NULL;
}

/* The pages that the VMM has used are all that the file has: else there is no telling which it has. */
static struct err *find_huge_pages(const struct shadow *s, struct region *r)
{
	struct stat st;
	uint64_t bytes = 0, entry;

	for (uint64_t at = r->start; at < r->end; at += r->page_bytes) {
		if (!read_pagemap(s, at, &entry, 1) || !(entry & PAGEMAP_PRESENT))
			continue;
		add_run(r, at, at + r->page_bytes);
		bytes += r->page_bytes;
	}
	if (!fstat(r->file, &st) && (uint64_t)st.st_blocks * 512 == bytes)
		return NULL;
	return err_new(ERR_UNSUPPORTED, "shared memory of process %d at 0x%" PRIx64 " has pages in hugetlbfs that it has not "
					"used itself", s->pid, r->start);
}

static struct err *protect(const struct shadow *s, const struct region *r)
{
	struct uffdio_register reg = { .range = { r->start, r->end - r->start },
				       .mode = UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING };

	if (ioctl(s->uffd, UFFDIO_REGISTER, &reg))
		return err_new(ERR_UNSUPPORTED, "shared memory of process %d at 0x%" PRIx64 " cannot be protected by "
						"userfaultfd: %s", s->pid, r->start, strerror(errno));
	for (size_t i = 0; i < r->n_runs; i++) {
		struct uffdio_writeprotect wp = { .range = { r->runs[i].start, r->runs[i].end - r->runs[i].start },
						  .mode = UFFDIO_WRITEPROTECT_MODE_WP };

		if (ioctl(s->uffd, UFFDIO_WRITEPROTECT, &wp))
			return err_new(ERR_UNSUPPORTED, "shared memory of process %d at 0x%" PRIx64 " cannot be "
							"write-protected: %s", s->pid, r->runs[i].start, strerror(errno));
	}
	return NULL;
}

static struct err *open_region(const struct shadow *s, struct region *r)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, s->pid, r->start, r->end);
	r->file = open(path, O_RDONLY | O_CLOEXEC);
	if (r->file < 0)
		return err_new(ERR_UNSUPPORTED, "cannot open the shared memory of process %d, %s: %s", s->pid, path,
			       strerror(errno));
	return NULL;
}

static struct err *add_region(struct shadow *s, struct vmm_mem *mem, const struct vmm_range *range, uint64_t *offset)
{
	struct region *r = &s->regions[s->n_regions++];
	uint64_t huge = vmm_mem_hugetlb_bytes(mem, range->hva);
	struct err *e;

	*r = (struct region){ .start = range->hva, .end = range->hva + range->bytes, .store_offset = *offset,
			      .file_offset = vmm_mem_map_at(mem, range->hva)->offset, .hugetlb = huge != 0,
			      .page_bytes = huge ? huge : s->page_bytes };
	*offset += range->bytes;
	r->chunk_bytes = MAX(r->page_bytes, (uint64_t)CHUNK_BYTES);
	s->zeros_bytes = MAX(s->zeros_bytes, r->page_bytes);
	r->states = xcalloc((range->bytes - 1) / r->chunk_bytes + 1, sizeof(*r->states));
	e = open_region(s, r);
	if (e)
		return e;
	return huge ? find_huge_pages(s, r) : find_data(r, mem);
}

/* Where what is put aside goes, and where zeros come from. */
static struct err *make_room(struct shadow *s, uint64_t bytes)
{
	void *zeros = mmap(NULL, s->zeros_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (zeros != MAP_FAILED)
		s->zeros = zeros;
	if (!s->zeros || ftruncate(s->store, (off_t)bytes))
		return err_sys(errno, "cannot put %" PRIu64 " bytes of guest memory aside", bytes);
	return NULL;
}

static struct err *start_thread(struct shadow *s)
{
	sigset_t all, old;
	int rc;

	s->buffer = xmalloc(CHUNK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, shadow_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->runs = !rc;
	return rc ? err_sys(rc, "cannot start a thread") : NULL;
}

struct err *shadow_create(pid_t pid, int uffd, struct vmm_mem *mem, const struct vmm_range *ranges, size_t n,
			  struct shadow **ret)
{
	struct shadow *s = xcalloc(1, sizeof(*s));
	uint64_t offset = 0;
	struct err *e;

	*s = (struct shadow){ .pid = pid, .uffd = uffd, .store = -1, .pagemap_fd = -1, .end_fd = -1,
			      .page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), .oom_score = proc_oom_score(getpid()) };
	/* What is put aside counts for nobody: when memory runs out it would be the VMM that has most. */
	proc_set_oom_score(getpid(), 1000);
	s->regions = xcalloc(n, sizeof(*s->regions));
	e = open_uffd(s);
	if (!e)
		e = open_files(s);
	for (size_t i = 0; !e && i < n; i++)
		e = add_region(s, mem, &ranges[i], &offset);
	if (!e)
		e = make_room(s, offset);
	/* A fault may come from now on. */
	if (!e)
		e = start_thread(s);
	for (size_t i = 0; !e && i < n; i++)
		e = protect(s, &s->regions[i]);
	if (e) {
		shadow_destroy(s);
		return e;
	}
	*ret = s;
	return NULL;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void shadow_destroy(struct shadow *s)
{
	if (!s)
		return;
	if (s->runs) {
		eventfd_write(s->end_fd, 1);
		pthread_join(s->thread, NULL);
	}
	/* Takes all protection away, and wakes whoever waits. */
	close_fd(s->uffd);
	close_fd(s->store);
	close_fd(s->pagemap_fd);
	close_fd(s->end_fd);
	proc_set_oom_score(getpid(), s->oom_score);
	if (s->zeros)
		munmap(s->zeros, s->zeros_bytes);
	for (size_t i = 0; i < s->n_regions; i++) {
		close_fd(s->regions[i].file);
		free(s->regions[i].runs);
		free(s->regions[i].states);
	}
	free(s->regions);
	free(s->buffer);
	free(s);
}

/* ---- reading ---- */

static struct err *read_saved(const struct shadow *s, const struct region *r, uint64_t hva, void *ret, size_t bytes)
{
	ssize_t n = pread(s->store, ret, bytes, (off_t)(r->store_offset + (hva - r->start)));

	if (n != (ssize_t)bytes)
		return err_sys(n < 0 ? errno : EIO, "cannot read what was put aside of guest memory");
	return NULL;
}

/* Of one run and one chunk. The thread says what it did before the memory can be any different. */
static struct err *read_piece(const struct shadow *s, const struct region *r, uint64_t hva, void *ret, size_t bytes)
{
	const uint8_t *state = state_of(r, hva);
	bool ok = __atomic_load_n(state, __ATOMIC_ACQUIRE) == CHUNK_LIVE && read_live(s, r, hva, ret, bytes);
	uint8_t now = __atomic_load_n(state, __ATOMIC_ACQUIRE);

	if (ok && now != CHUNK_LOST)
		return NULL;
	if (now == CHUNK_SAVED)
		return read_saved(s, r, hva, ret, bytes);
	return err_new(ERR_GONE, "the snapshot is lost at 0x%" PRIx64 " of the VMM, process %d: it has exited, or has "
				 "given back or moved that memory meanwhile", hva, s->pid);
}

static struct err *read_run(const struct shadow *s, const struct region *r, const struct run *run, char *ret)
{
	struct err *e = NULL;

	for (uint64_t at = run->start, n; !e && at < run->end; at += n) {
		n = CHUNK_BYTES - (at - r->start) % CHUNK_BYTES;
		n = MIN(n, run->end - at);
		e = read_piece(s, r, at, ret + (at - run->start), (size_t)n);
	}
	return e;
}

struct err *shadow_read(struct shadow *s, uint64_t hva, void *ret, size_t bytes)
{
	const struct region *r = region_at(s, hva);
	uint64_t end = hva + bytes;
	struct err *e = NULL;

	for (uint64_t at = hva; !e && at < end;) {
		struct run run = next_run(r, at, end);

		memset((char *)ret + (at - hva), 0, (size_t)(run.start - at));
		e = read_run(s, r, &run, (char *)ret + (run.start - hva));
		at = run.end;
	}
	return e;
}
