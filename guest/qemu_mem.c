/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/qemu_mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "guest/vmm_mem.h"

/* What one xp prints. */
#define XP_BYTES 512u
/* As many of them, evenly spread, must a file have in common with the guest to be its memory. */
#define FILE_SAMPLES 16u
#define FILE_READS 3u

enum way {
	BY_QEMU, /* its gdbstub, or its monitor where it has none for us */
	BY_PROCESS,
	BY_FILE,
};

struct place {
	enum way way;
	uint64_t hva;         /* 0: not known */
	int fd;               /* BY_FILE, else -1 */
	uint64_t file_offset; /* of the region's first byte */
};

struct qemu_mem {
	struct qmp *qmp;
	struct qemu_stub *stub;
	bool emulated;
	struct qemu_region *regions;
	struct place *places; /* one a region */
	size_t n;
	struct vmm_mem *process; /* NULL: not reached; why says the reason */
	char *why;
	char *mtree;             /* what the regions were parsed from */
	unsigned unplugs;        /* qmp_unplugs() by then */
};

/* ---- through QEMU's monitor ---- */

static struct err *read_xp(struct qmp *q, uint64_t gpa, uint8_t *ret, size_t bytes)
{
	struct buf line = { 0 };
	char *text;
	struct err *e;

	buf_addf(&line, "xp /%zuxb 0x%" PRIx64, bytes, gpa);
	e = qmp_hmp(q, -1, buf_str(&line), &text);
	buf_deinit(&line);
	if (e)
		return e;
	e = qemu_parse_xp(text, ret, bytes);
	free(text);
	return e;
}

static struct err *read_monitor(struct qmp *q, uint64_t gpa, uint8_t *ret, size_t bytes)
{
	struct err *e = NULL;

	for (size_t done = 0; !e && done < bytes; done += XP_BYTES)
		e = read_xp(q, gpa + done, ret + done, MIN(bytes - done, XP_BYTES));
	return e;
}

/* ---- what the regions are ---- */

static struct err *find_regions(struct qemu_mem *m)
{
	struct err *e = qemu_regions_parse(m->mtree, &m->regions, &m->n);

	m->places = xcalloc(m->n, sizeof(*m->places));
	for (size_t i = 0; i < m->n; i++)
		m->places[i].fd = -1;
	return e;
}

static struct err *ask_hva(struct qmp *q, uint64_t gpa, uint64_t *ret)
{
	struct buf line = { 0 };
	char *text;
	struct err *e;

	buf_addf(&line, "gpa2hva 0x%" PRIx64, gpa);
	e = qmp_hmp(q, -1, buf_str(&line), &text);
	buf_deinit(&line);
	if (e)
		return e;
	e = qemu_parse_gpa2hva(text, ret);
	free(text);
	return e;
}

/* Only what is asked of a QEMU that answers nothing more is an error. */
static struct err *ask_hvas(struct qemu_mem *m)
{
	for (size_t i = 0; i < m->n; i++) {
		struct err *e = ask_hva(m->qmp, m->regions[i].gpa, &m->places[i].hva);

		if (e && err_code(e) != ERR_UNSUPPORTED)
			return e;
		err_destroy(e);
	}
	return NULL;
}

/* ---- the process ---- */

static struct err *open_process(struct qemu_mem *m)
{
	pid_t pid = qmp_pid(m->qmp);
	struct err *e;

	if (!pid)
		return err_new(ERR_UNKNOWN, "%s", qmp_host(m->qmp) ?
			       "QMP over TCP does not tell QEMU's pid" :
			       "QEMU's process is in another pid namespace");
	e = vmm_mem_open(pid, &m->process);
	return e && (err_errno(e) == EACCES || err_errno(e) == EPERM) ?
		       err_suffix(e, " (be the user of process %d, or have CAP_SYS_PTRACE)", pid) : e;
}

static struct err *try_process(const struct qemu_mem *m, const struct qemu_region *r, uint64_t hva)
{
	uint8_t byte;
	size_t n;

	if (!hva || !vmm_mem_covers(m->process, hva, r->bytes))
		return err_new(ERR_UNMAPPED, "process %d, at the other end of the QMP socket, does not have %s",
			       qmp_pid(m->qmp), r->name);
	return vmm_mem_read(m->process, hva, &byte, 1, &n);
}

static struct err *use_process(struct qemu_mem *m)
{
	struct err *e = open_process(m), *first = NULL;

	for (size_t i = 0; !e && i < m->n; i++) {
		struct err *failed = try_process(m, &m->regions[i], m->places[i].hva);

		if (!failed)
			m->places[i].way = BY_PROCESS;
		if (first)
			err_destroy(failed);
		else
			first = failed;
	}
	return e ? e : first;
}

/* ---- files ---- */

/* A property of the backend; NULL: it has none of that name. Caller ends it. */
static struct json_object *backend_property(struct qmp *q, const char *id, const char *property)
{
	struct json_object *arguments = json_object_new_object(), *value = NULL;
	struct buf path = { 0 };

	buf_addf(&path, "/objects/%s", id);
	json_object_object_add(arguments, "path", json_object_new_string(buf_str(&path)));
	json_object_object_add(arguments, "property", json_object_new_string(property));
	err_destroy(qmp_execute(q, "qom-get", arguments, &value));
	buf_deinit(&path);
	return value;
}

static int open_backend_file(struct qmp *q, const char *id)
{
	struct json_object *path = backend_property(q, id, "mem-path");
	int fd = -1;

	if (json_object_is_type(path, json_type_string)) {
		fd = open(json_object_get_string(path), O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0)
			fd = open(json_object_get_string(path), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	}
	json_object_put(path);
	return fd;
}

static bool is_same_now(const struct qemu_mem *m, const struct qemu_region *r, const struct place *p, uint64_t offset,
			size_t bytes)
{
	uint8_t file[XP_BYTES], guest[XP_BYTES];
	struct err *e = read_xp(m->qmp, r->gpa + offset, guest, bytes);
	bool same = !e && pread(p->fd, file, bytes, (off_t)(p->file_offset + offset)) == (ssize_t)bytes &&
		    !memcmp(file, guest, bytes);

	err_destroy(e);
	return same;
}

/* A guest that runs may write between the two reads. */
static bool is_same_at(const struct qemu_mem *m, const struct qemu_region *r, const struct place *p, uint64_t offset,
		       size_t bytes)
{
	for (unsigned i = 0; i < FILE_READS; i++)
		if (is_same_now(m, r, p, offset, bytes))
			return true;
	return false;
}

/* The file may be another one of the same name. */
static bool is_memory_of(const struct qemu_mem *m, const struct qemu_region *r, const struct place *p)
{
	size_t bytes = (size_t)MIN(r->bytes, XP_BYTES);
	struct stat st;

	if (fstat(p->fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < r->bytes ||
	    p->file_offset > (uint64_t)st.st_size - r->bytes)
		return false;
	for (unsigned i = 0; i < FILE_SAMPLES; i++)
		if (!is_same_at(m, r, p, (r->bytes - bytes) / (FILE_SAMPLES - 1) * i, bytes))
			return false;
	return true;
}

static void close_file(struct place *p)
{
	close(p->fd);
	p->fd = -1;
	p->way = BY_QEMU;
}

static void use_file(struct qemu_mem *m, size_t i)
{
	struct place *p = &m->places[i];
	struct json_object *offset = backend_property(m->qmp, m->regions[i].name, "offset");

	p->fd = open_backend_file(m->qmp, m->regions[i].name);
	p->file_offset = (uint64_t)json_object_get_int64(offset) + m->regions[i].offset;
	json_object_put(offset);
	if (p->fd < 0)
		return;
	if (is_memory_of(m, &m->regions[i], p))
		p->way = BY_FILE;
	else
		close_file(p);
}

/* A block has one file: where a part of it is another one's, the rest only looks alike. */
static void close_doubtful_files(struct qemu_mem *m)
{
	for (size_t i = 0; i < m->n; i++)
		for (size_t k = 0; m->places[i].way == BY_QEMU && k < m->n; k++)
			if (m->places[k].way == BY_FILE && !strcmp(m->regions[i].name, m->regions[k].name))
				close_file(&m->places[k]);
}

static bool is_shared(const struct json_object *memdevs, const char *id)
{
	for (size_t i = 0; i < qmp_array_len(memdevs); i++) {
		struct json_object *dev = json_object_array_get_idx(memdevs, i), *share;

		if (!strcmp(qmp_string(dev, "id"), id) && json_object_object_get_ex(dev, "share", &share))
			return json_object_get_boolean(share);
	}
	return false;
}

static struct err *use_files(struct qemu_mem *m)
{
	struct json_object *memdevs;
	struct err *e = qmp_execute(m->qmp, "query-memdev", NULL, &memdevs);

	if (e)
		return e;
	for (size_t i = 0; i < m->n; i++)
		if (m->places[i].way == BY_QEMU && is_shared(memdevs, m->regions[i].name))
			use_file(m, i);
	close_doubtful_files(m);
	json_object_put(memdevs);
	return NULL;
}

/* ---- opening ---- */

static struct err *choose_ways(struct qemu_mem *m)
{
	struct err *e = use_process(m);

	if (!e)
		return NULL;
	m->why = xstrdup(err_text(e));
	log_debug("no process memory: %s", m->why);
	err_destroy(e);
	e = qmp_is_local(m->qmp) ? use_files(m) : NULL;
	if (!e || err_code(e) != ERR_UNSUPPORTED)
		return e;
	err_destroy(e);
	return NULL;
}

/* Takes over mtree. */
static struct err *open_regions(struct qmp *q, struct qemu_stub *stub, bool emulated, char *mtree,
				struct qemu_mem **ret)
{
	struct qemu_mem *m = xcalloc(1, sizeof(*m));
	struct err *e;

	*m = (struct qemu_mem){ .qmp = q, .stub = stub, .emulated = emulated, .mtree = mtree,
				.unplugs = qmp_unplugs(q) };
	e = find_regions(m);
	if (!e)
		e = ask_hvas(m);
	if (!e)
		e = choose_ways(m);
	if (e) {
		qemu_mem_close(m);
		return e;
	}
	*ret = m;
	return NULL;
}

/* Another device at the place of one that has gone looks the same there. */
static bool is_as_before(const struct qemu_mem *m, const char *mtree)
{
	return m && !strcmp(m->mtree, mtree) && m->unplugs == qmp_unplugs(m->qmp);
}

struct err *qemu_mem_open(struct qmp *q, struct qemu_stub *stub, bool emulated, struct qemu_mem **mem)
{
	char *mtree;
	struct err *e = qmp_hmp(q, -1, "info mtree -f", &mtree);

	if (e)
		return e;
	if (is_as_before(*mem, mtree)) {
		free(mtree);
		if ((*mem)->process)
			vmm_mem_forget_pages((*mem)->process);
		return NULL;
	}
	qemu_mem_close(*mem);
	*mem = NULL;
	return open_regions(q, stub, emulated, mtree, mem);
}

void qemu_mem_close(struct qemu_mem *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		if (m->places[i].fd >= 0)
			close(m->places[i].fd);
	vmm_mem_close(m->process);
	qemu_regions_free(m->regions, m->n);
	free(m->places);
	free(m->why);
	free(m->mtree);
	free(m);
}

const struct qemu_region *qemu_mem_regions(const struct qemu_mem *m, size_t *ret_n)
{
	*ret_n = m->n;
	return m->regions;
}

uint64_t qemu_mem_hva(const struct qemu_mem *m, size_t i)
{
	return m->places[i].hva;
}

/* ---- access ---- */

/* The region that holds gpa, of which there is one. */
static size_t region_at(const struct qemu_mem *m, uint64_t gpa)
{
	size_t lo = 0, hi = m->n;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->regions[mid].gpa <= gpa)
			lo = mid;
		else
			hi = mid;
	}
	assert(lo < m->n && gpa - m->regions[lo].gpa < m->regions[lo].bytes);
	return lo;
}

static struct err *read_stub(struct qemu_mem *m, uint64_t gpa, uint8_t *ret, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		size_t n = 0;
		struct err *e = stub_read_phys(m->stub->stub, gpa + done, ret + done, bytes - done, &n);

		if (e)
			return e;
		if (!n)
			return err_new(ERR_UNMAPPED, "QEMU's gdbstub gives no byte at 0x%" PRIx64, gpa + done);
		done += n;
	}
	return NULL;
}

static struct err *read_by_qemu(struct qemu_mem *m, uint64_t gpa, void *ret, size_t bytes)
{
	if (m->stub->stub) {
		struct err *e = qemu_stub_check(m->stub, read_stub(m, gpa, ret, bytes));

		if (e || m->stub->stub)
			return e;
	}
	return read_monitor(m->qmp, gpa, ret, bytes);
}

static struct err *read_file(const struct place *p, uint64_t offset, void *ret, size_t bytes, size_t *ret_bytes)
{
	ssize_t n = pread(p->fd, ret, bytes, (off_t)(p->file_offset + offset));

	if (n <= 0)
		return err_sys(n ? errno : EIO, "cannot read the file behind guest memory");
	*ret_bytes = (size_t)n;
	return NULL;
}

bool qemu_mem_is_parallel(const struct qemu_mem *m, size_t i)
{
	return m->places[i].way != BY_QEMU;
}

struct err *qemu_mem_read_beside(const struct qemu_mem *m, uint64_t gpa, void *ret, size_t bytes, size_t *ret_bytes)
{
	size_t i = region_at(m, gpa);
	uint64_t offset = gpa - m->regions[i].gpa;

	if (m->places[i].way == BY_PROCESS)
		return vmm_mem_read(m->process, m->places[i].hva + offset, ret, bytes, ret_bytes);
	return read_file(&m->places[i], offset, ret, bytes, ret_bytes);
}

struct err *qemu_mem_read(struct qemu_mem *m, uint64_t gpa, void *ret, size_t bytes, size_t *ret_bytes)
{
	struct err *e;

	if (qemu_mem_is_parallel(m, region_at(m, gpa)))
		return qemu_mem_read_beside(m, gpa, ret, bytes, ret_bytes);
	e = read_by_qemu(m, gpa, ret, bytes);
	if (!e)
		*ret_bytes = bytes;
	return e;
}

static struct err *write_file(const struct place *p, uint64_t offset, const char *from, size_t bytes)
{
	while (bytes) {
		ssize_t n = pwrite(p->fd, from, bytes, (off_t)(p->file_offset + offset));

		if (n <= 0)
			return err_sys(n ? errno : EIO, "cannot write the file behind guest memory");
		offset += (uint64_t)n;
		from += n;
		bytes -= (size_t)n;
	}
	return NULL;
}

/* Behind QEMU's back, which may have translated the code that was there. */
static struct err *write_directly(struct qemu_mem *m, size_t i, uint64_t gpa, const void *from, size_t bytes)
{
	uint64_t offset = gpa - m->regions[i].gpa;

	if (m->emulated)
		return err_new(ERR_UNSUPPORTED, "cannot write %s: QEMU emulates this guest and would not notice",
			       m->regions[i].name);
	if (m->places[i].way == BY_PROCESS)
		return vmm_mem_write(m->process, m->places[i].hva + offset, from, bytes);
	if (m->places[i].way == BY_FILE)
		return write_file(&m->places[i], offset, from, bytes);
	return err_new(ERR_UNSUPPORTED, "cannot write %s: neither QEMU's gdbstub nor its process can be reached",
		       m->regions[i].name);
}

/* The stub passes over ROM without a word, and takes a write to flash as a command to it. */
struct err *qemu_mem_write(struct qemu_mem *m, uint64_t gpa, const void *from, size_t bytes)
{
	size_t i = region_at(m, gpa);
	enum qemu_region_kind kind = m->regions[i].kind;

	if (m->stub->stub && kind != QEMU_ROM && kind != QEMU_ROM_DEVICE) {
		struct err *e = qemu_stub_check(m->stub, stub_write_phys(m->stub->stub, gpa, from, bytes));

		if (e || m->stub->stub)
			return e;
	}
	return write_directly(m, i, gpa, from, bytes);
}

struct err *qemu_mem_next_data(struct qemu_mem *m, uint64_t gpa, uint64_t *ret_gpa, uint64_t *ret_bytes)
{
	size_t i = region_at(m, gpa);
	const struct qemu_region *r = &m->regions[i];
	uint64_t offset = gpa - r->gpa, hva;
	struct err *e;

	if (m->places[i].way != BY_PROCESS) {
		*ret_gpa = gpa;
		*ret_bytes = r->bytes - offset;
		return NULL;
	}
	e = vmm_mem_next_data(m->process, m->places[i].hva + offset, m->places[i].hva + r->bytes, &hva, ret_bytes);
	if (!e)
		*ret_gpa = r->gpa + (hva - m->places[i].hva);
	return e;
}

/* ---- in words ---- */

static void describe_region(const struct qemu_mem *m, size_t i, struct buf *out)
{
	const struct qemu_region *r = &m->regions[i];
	const struct place *p = &m->places[i];

	buf_addf(out, "0x%" PRIx64 "-0x%" PRIx64 " %s %s", r->gpa, r->gpa + (r->bytes - 1), qemu_region_word(r->kind),
		 r->name);
	if (p->hva)
		buf_addf(out, " at hva 0x%" PRIx64, p->hva);
	if (r->kind == QEMU_DEVICE_RAM)
		buf_adds(out, ", of a passed-through device: left out\n");
	else if (p->way == BY_PROCESS)
		buf_adds(out, "\n");
	else
		buf_adds(out, p->way == BY_FILE ? ", by the file behind it\n" : m->stub->stub ? ", by QEMU's gdbstub\n" :
			 ", by QEMU's monitor, which is slow\n");
}

void qemu_mem_describe(const struct qemu_mem *m, struct buf *out)
{
	if (m->process)
		buf_addf(out, "memory: of process %d\n", qmp_pid(m->qmp));
	if (m->why)
		buf_addf(out, "memory: %s: %s\n", m->process ? "not all of its process" : "not by its process", m->why);
}

void qemu_mem_describe_regions(const struct qemu_mem *m, struct buf *out)
{
	for (size_t i = 0; i < m->n; i++)
		describe_region(m, i, out);
}
