/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/vmm_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"

#define MAX_RUNS 512u
/* Entries of /proc/PID/pagemap read at once. */
#define PAGEMAP_CHUNK 8192u

/* Documentation/admin-guide/mm/pagemap.rst: bits of an entry. */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)

/* include/uapi/linux/fs.h of Linux 6.7; older headers lack it. */
struct pm_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

struct page_run {
	uint64_t start, end, categories;
};

#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, struct pm_scan)
#define SCAN_PRESENT (1ull << 3)
#define SCAN_SWAPPED (1ull << 4)
#define SCAN_ZERO_PAGE (1ull << 5)

_Static_assert(sizeof(struct pm_scan) == 96, "struct pm_scan_arg");

struct vmm_mem {
	pid_t pid;
	uint64_t page_bytes;
	int mem_fd, pagemap_fd;
	bool no_scan; /* a kernel without PAGEMAP_SCAN */
	struct proc_map *maps;
	size_t n_maps;
	/* The runs of populated pages in [known_start, known_end). */
	struct page_run runs[MAX_RUNS];
	size_t n_runs;
	uint64_t known_start, known_end;
	/* The file behind a shared mapping, opened for SEEK_DATA. */
	int file_fd;
	uint64_t file_start; /* of the mapping; 0 none */
};

static int open_proc(pid_t pid, const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, flags | O_CLOEXEC);
}

struct err *vmm_mem_open(pid_t pid, struct vmm_mem **ret)
{
	struct vmm_mem *m = xcalloc(1, sizeof(*m));
	struct err *e;

	m->pid = pid;
	m->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	m->mem_fd = m->pagemap_fd = m->file_fd = -1;
	e = proc_maps_read(pid, &m->maps, &m->n_maps);
	if (e) {
		free(m);
		return e;
	}
	m->pagemap_fd = open_proc(pid, "pagemap", O_RDONLY);
	*ret = m;
	return NULL;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vmm_mem_close(struct vmm_mem *m)
{
	if (!m)
		return;
	close_fd(m->mem_fd);
	close_fd(m->pagemap_fd);
	close_fd(m->file_fd);
	proc_maps_free(m->maps, m->n_maps);
	free(m);
}

bool vmm_mem_covers(const struct vmm_mem *m, uint64_t hva, uint64_t bytes)
{
	uint64_t end = hva + bytes;

	while (hva < end) {
		const struct proc_map *map = proc_map_at(m->maps, m->n_maps, hva);

		if (!map)
			return false;
		hva = map->end;
	}
	return true;
}

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

bool vmm_mem_is_device(const struct vmm_mem *m, uint64_t hva)
{
	const struct proc_map *map = proc_map_at(m->maps, m->n_maps, hva);

	if (!map)
		return false;
	if (starts_with(map->path, "anon_inode:") || starts_with(map->path, "/sys/"))
		return true;
	return starts_with(map->path, "/dev/") && !starts_with(map->path, "/dev/shm/") &&
	       !starts_with(map->path, "/dev/hugepages/") && !starts_with(map->path, "/dev/zero");
}

const struct proc_map *vmm_mem_map_at(const struct vmm_mem *m, uint64_t hva)
{
	return proc_map_at(m->maps, m->n_maps, hva);
}

const struct proc_map *vmm_mem_maps(const struct vmm_mem *m, size_t *ret_n)
{
	*ret_n = m->n_maps;
	return m->maps;
}

static int open_mapped_file(struct vmm_mem *m, const struct proc_map *map)
{
	char name[64];

	if (m->file_start == map->start)
		return m->file_fd;
	close_fd(m->file_fd);
	snprintf(name, sizeof(name), "map_files/%" PRIx64 "-%" PRIx64, map->start, map->end);
	m->file_fd = open_proc(m->pid, name, O_RDONLY);
	m->file_start = map->start;
	return m->file_fd;
}

uint64_t vmm_mem_hugetlb_bytes(struct vmm_mem *m, uint64_t hva)
{
	const struct proc_map *map = proc_map_at(m->maps, m->n_maps, hva);
	struct statfs fs;
	int fd = map && map->inode ? open_mapped_file(m, map) : -1;

	if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	return (uint64_t)fs.f_bsize;
}

static struct err *transfer_error(const struct vmm_mem *m, const char *what, uint64_t hva, int errnum)
{
	if (errnum == ESRCH)
		return err_new(ERR_GONE, "the VMM, process %d, has exited", m->pid);
	if (errnum == EPERM)
		return err_sys(errnum, "cannot %s the memory of process %d: CAP_SYS_PTRACE is needed", what, m->pid);
	return err_new(ERR_UNMAPPED, "cannot %s the VMM's memory at 0x%" PRIx64 ": %s", what, hva, strerror(errnum));
}

struct err *vmm_mem_read(struct vmm_mem *m, uint64_t hva, void *ret, size_t bytes, size_t *ret_bytes)
{
	struct iovec own = { ret, bytes }, theirs = { (void *)(uintptr_t)hva, bytes };
	ssize_t n = process_vm_readv(m->pid, &own, 1, &theirs, 1, 0);

	if (n < 0)
		return transfer_error(m, "read", hva, errno);
	*ret_bytes = (size_t)n;
	return NULL;
}

/* A debugger's write goes through a protection that the VMM gave its own mapping (of a ROM). */
static struct err *force_write(struct vmm_mem *m, uint64_t hva, const char *from, size_t bytes)
{
	if (m->mem_fd < 0)
		m->mem_fd = open_proc(m->pid, "mem", O_RDWR);
	while (m->mem_fd >= 0 && bytes) {
		ssize_t n = pwrite(m->mem_fd, from, bytes, (off_t)hva);

		if (n <= 0)
			return transfer_error(m, "write", hva, n ? errno : EIO);
		hva += (uint64_t)n;
		from += n;
		bytes -= (size_t)n;
	}
	return m->mem_fd < 0 ? transfer_error(m, "write", hva, errno) : NULL;
}

struct err *vmm_mem_write(struct vmm_mem *m, uint64_t hva, const void *from, size_t bytes)
{
	struct iovec own = { (void *)from, bytes }, theirs = { (void *)(uintptr_t)hva, bytes };
	ssize_t n = process_vm_writev(m->pid, &own, 1, &theirs, 1, 0);

	vmm_mem_forget_pages(m); /* a write populates them */
	if (n == (ssize_t)bytes)
		return NULL;
	n = MAX(n, 0);
	return force_write(m, hva + (uint64_t)n, (const char *)from + n, bytes - (size_t)n);
}

/* ---- populated pages ---- */

void vmm_mem_forget_pages(struct vmm_mem *m)
{
	m->known_start = m->known_end = 0;
}

void vmm_mem_forget_scan(struct vmm_mem *m)
{
	m->no_scan = true;
}

static bool scan_runs(struct vmm_mem *m, uint64_t hva, uint64_t end)
{
	struct pm_scan arg = {
		.size = sizeof(arg),
		.start = hva,
		.end = end,
		.vec = (uintptr_t)m->runs,
		.vec_len = MAX_RUNS,
		.category_inverted = SCAN_ZERO_PAGE,
		.category_mask = SCAN_ZERO_PAGE,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_PRESENT,
	};
	int n = m->no_scan ? -1 : ioctl(m->pagemap_fd, PAGEMAP_SCAN_IOCTL, &arg);

	if (n < 0) {
		m->no_scan = true;
		return false;
	}
	m->n_runs = (size_t)n;
	m->known_start = hva;
	m->known_end = arg.walk_end;
	return true;
}

static void add_page(struct vmm_mem *m, uint64_t hva)
{
	struct page_run *last = m->n_runs ? &m->runs[m->n_runs - 1] : NULL;

	if (last && last->end == hva)
		last->end += m->page_bytes;
	else
		m->runs[m->n_runs++] = (struct page_run){ hva, hva + m->page_bytes, 0 };
}

/* The way of kernels before 6.7: an entry a page, touched or not. */
static bool read_pagemap(struct vmm_mem *m, uint64_t hva, uint64_t end)
{
	uint64_t pages = MIN((end - hva) / m->page_bytes, (uint64_t)PAGEMAP_CHUNK);
	uint64_t *entries = xreallocarray(NULL, pages, sizeof(*entries));
	ssize_t n = pread(m->pagemap_fd, entries, pages * sizeof(*entries),
			  (off_t)(hva / m->page_bytes * sizeof(*entries)));
	uint64_t got = n > 0 ? (uint64_t)n / sizeof(*entries) : 0, i;

	m->n_runs = 0;
	for (i = 0; i < got && m->n_runs < MAX_RUNS; i++)
		if (entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED))
			add_page(m, hva + i * m->page_bytes);
	free(entries);
	m->known_start = hva;
	m->known_end = hva + i * m->page_bytes;
	return got > 0;
}

/* The next populated run of an anonymous mapping; false when the kernel does not tell. It tells of whole pages. */
static bool next_populated(struct vmm_mem *m, uint64_t hva, uint64_t end, struct page_run *ret)
{
	uint64_t last = ALIGN_UP(end, m->page_bytes);

	*ret = (struct page_run){ end, end, 0 };
	for (uint64_t at = ALIGN_DOWN(hva, m->page_bytes); at < end; at = m->known_end) {
		if (at < m->known_start || at >= m->known_end)
			if (m->pagemap_fd < 0 || (!scan_runs(m, at, last) && !read_pagemap(m, at, last)))
				return false;
		for (size_t i = 0; i < m->n_runs; i++) {
			if (m->runs[i].end <= hva || m->runs[i].start >= end)
				continue;
			*ret = (struct page_run){ MAX(m->runs[i].start, hva), MIN(m->runs[i].end, end), 0 };
			return true;
		}
	}
	return true;
}

/* The same for a shared mapping, from the holes of its file. */
static bool next_in_file(struct vmm_mem *m, const struct proc_map *map, uint64_t hva, uint64_t end,
			 struct page_run *ret)
{
	int fd = open_mapped_file(m, map);
	off_t to_file = (off_t)(map->offset - map->start), data, hole;

	if (fd < 0)
		return false;
	data = lseek(fd, (off_t)hva + to_file, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return false;
	*ret = (struct page_run){ end, end, 0 };
	if (data < 0 || (uint64_t)(data - to_file) >= end)
		return true;
	hole = lseek(fd, data, SEEK_HOLE);
	ret->start = MAX((uint64_t)(data - to_file), hva);
	ret->end = hole < 0 ? end : MIN((uint64_t)(hole - to_file), end);
	return true;
}

/* A private mapping of a file has the file's bytes where it has no page of its own. */
static struct page_run next_in_map(struct vmm_mem *m, const struct proc_map *map, uint64_t hva, uint64_t end)
{
	struct page_run run = { hva, end, 0 };
	bool known = false;

	if (map->shared)
		known = next_in_file(m, map, hva, end, &run);
	else if (!map->inode)
		known = next_populated(m, hva, end, &run);
	return known ? run : (struct page_run){ hva, end, 0 };
}

struct err *vmm_mem_next_data(struct vmm_mem *m, uint64_t hva, uint64_t end, uint64_t *ret_hva, uint64_t *ret_bytes)
{
	while (hva < end) {
		const struct proc_map *map = proc_map_at(m->maps, m->n_maps, hva);
		struct page_run run;

		if (!map)
			return err_new(ERR_UNMAPPED, "the VMM has unmapped its memory at 0x%" PRIx64, hva);
		run = next_in_map(m, map, hva, MIN(end, map->end));
		if (run.start < run.end) {
			*ret_hva = run.start;
			*ret_bytes = run.end - run.start;
			return NULL;
		}
		hva = map->end;
	}
	*ret_hva = end;
	*ret_bytes = 0;
	return NULL;
}
