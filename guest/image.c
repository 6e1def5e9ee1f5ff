/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "guest/os.h"

/* Above every real pid, so that no reader takes it for a task's. */
#define UNKNOWN_PID 0x40000001u

static struct err *take_vcpus(struct guest_image *img, struct guest *g)
{
	img->vcpus = xcalloc(g->n_vcpus, sizeof(*img->vcpus));
	img->pids = xcalloc(g->n_vcpus, sizeof(*img->pids));
	for (unsigned i = 0; i < g->n_vcpus; i++) {
		const struct regs *regs;
		struct err *e = guest_regs(g, i, &regs);

		if (e)
			return e;
		img->vcpus[i] = regs_dup(regs);
		img->n_vcpus = i + 1;
	}
	return NULL;
}

static bool pid_is_taken(const struct guest_image *img, unsigned n, uint32_t pid)
{
	for (unsigned i = 0; i < n; i++)
		if (img->pids[i] == pid)
			return true;
	return false;
}

/*
 * The idle task has pid 0 on every CPU. Of notes with one pid gdb shows one, so
 * those get a made-up one too, though drgn unwinds idle tasks by 0 alone. A
 * core may say a made-up one itself.
 */
static void take_pids(struct guest_image *img, struct guest *g)
{
	uint32_t spare = UNKNOWN_PID;

	for (unsigned i = 0; i < img->n_vcpus; i++) {
		uint32_t pid = 0;
		bool known = g->ops->vcpu_pid && g->ops->vcpu_pid(g, i, &pid) && pid;
		struct err *e = known ? NULL : os_vcpu_pid(g, i, &pid);

		if (e || !pid || pid_is_taken(img, i, pid)) {
			while (pid_is_taken(img, i, spare))
				spare++;
			pid = spare++;
		}
		img->pids[i] = pid;
		err_destroy(e);
	}
}

static void take_vmcoreinfo(struct guest_image *img, struct guest *g)
{
	size_t bytes = 0;
	const char *text = g->ops->vmcoreinfo ? g->ops->vmcoreinfo(g, &bytes) : NULL;
	struct err *e = text ? NULL : os_vmcoreinfo(g, &text, &bytes);

	if (!e) {
		img->vmcoreinfo = xmalloc(bytes);
		memcpy(img->vmcoreinfo, text, bytes);
		img->vmcoreinfo_bytes = bytes;
	}
	err_destroy(e);
}

static void take_os(struct guest_image *img, struct guest *g)
{
	take_pids(img, g);
	take_vmcoreinfo(img, g);
	err_destroy(os_kernel_map(g, &img->kernel_map, &img->n_kernel_map));
}

struct err *guest_image_create(struct guest *g, struct guest_image **ret)
{
	struct guest_image *img;
	struct err *e;

	if (!g->n_blocks)
		return err_new(ERR_UNSUPPORTED, "the guest has no memory; it has not been set up yet");
	if (!g->n_vcpus)
		return err_new(ERR_UNSUPPORTED, "the guest has no vCPU; it has not been set up yet");
	img = xcalloc(1, sizeof(*img));
	img->arch = g->arch;
	img->order = g->order;
	img->guest = g;
	g->holds++;
	img->blocks = xcalloc(g->n_blocks, sizeof(*img->blocks));
	memcpy(img->blocks, g->blocks, g->n_blocks * sizeof(*img->blocks));
	img->n_blocks = g->n_blocks;
	e = take_vcpus(img, g);
	if (e) {
		guest_image_destroy(img);
		return e;
	}
	take_os(img, g);
	*ret = img;
	return NULL;
}

void guest_image_destroy(struct guest_image *img)
{
	if (!img)
		return;
	img->guest->holds--;
	for (unsigned i = 0; i < img->n_vcpus; i++)
		regs_destroy(img->vcpus[i]);
	free(img->vcpus);
	free(img->pids);
	free(img->blocks);
	free(img->vmcoreinfo);
	free(img->kernel_map);
	page_classes_deinit(&img->classes);
	free(img);
}

struct err *guest_image_leave_out(struct guest_image *img, unsigned classes)
{
	img->left_out = classes & PAGES_ZERO;
	if (classes & ~PAGES_ZERO) {
		struct err *e = os_pages(img->guest, classes & ~PAGES_ZERO, &img->classes);

		if (e)
			return e;
	}
	img->left_out = classes;
	return NULL;
}

struct err *guest_image_read(struct guest_image *img, uint64_t gpa, void *ret, size_t bytes)
{
	struct phys_reader mem = guest_phys_reader(img->guest);

	return mem.read(mem.ctx, gpa, ret, bytes);
}

bool guest_image_reads_beside(const struct guest_image *img, uint64_t gpa, uint64_t bytes)
{
	return guest_reads_beside(img->guest, gpa, bytes);
}

struct err *guest_image_read_beside(const struct guest_image *img, uint64_t gpa, void *ret, size_t bytes)
{
	return guest_read_beside(img->guest, gpa, ret, bytes);
}

struct err *guest_image_check_held(struct guest_image *img)
{
	return guest_check_held(img->guest);
}

struct err *guest_image_next_data(struct guest_image *img, uint64_t gpa, uint64_t end, uint64_t *ret_gpa,
				  uint64_t *ret_bytes)
{
	return guest_next_data(img->guest, gpa, end, ret_gpa, ret_bytes);
}

struct err *guest_image_walk(struct guest_image *img, mapping_fn fn, void *arg)
{
	struct phys_reader mem = guest_phys_reader(img->guest);

	for (unsigned i = 0; i < img->n_vcpus; i++) {
		struct err *e = img->arch->walk(img->vcpus[i], &mem, fn, arg);

		if (e)
			return err_prefix(e, "page tables of vCPU %u", i);
	}
	return NULL;
}
