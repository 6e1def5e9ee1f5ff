/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "linux/kernel.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "guest/btf.h"
#include "linux/kallsyms.h"

/* Kernels have 4 to 10 MiB. */
#define MAX_BTF_BYTES (64u << 20)

void kernel_deinit(struct linux_kernel *k)
{
	kallsyms_close(k->symbols);
	err_destroy(k->no_symbols);
	btf_close(k->types);
	free(k->text);
	*k = (struct linux_kernel){ 0 };
}

static bool is_same(const struct linux_kernel *k, const struct vmcoreinfo *info)
{
	return info && k->text && k->text_bytes == info->bytes && !memcmp(k->text, info->text, info->bytes);
}

void kernel_use(struct linux_kernel *k, struct guest *g, const struct linux_arch *arch,
		const struct linux_image *image, const struct vmcoreinfo *info)
{
	if (!is_same(k, info)) {
		kernel_deinit(k);
		if (info) {
			k->text = xmalloc(info->bytes);
			k->text_bytes = info->bytes;
			memcpy(k->text, info->text, info->bytes);
		}
	}
	err_destroy(k->no_symbols);
	k->no_symbols = NULL;
	k->no_types = false;
	k->guest = g;
	k->arch = arch;
	k->image = image;
	k->info = info;
}

struct err *kernel_read(const struct linux_kernel *k, uint64_t gva, void *ret, size_t bytes)
{
	return linux_read(k->guest, k->image->regs, gva, ret, bytes);
}

bool kernel_read_uint(const struct linux_kernel *k, uint64_t gva, size_t bytes, uint64_t *ret)
{
	struct err *e = linux_read_uint(k->guest, k->image->regs, gva, bytes, ret);

	err_destroy(e);
	return !e;
}

/* ---- symbols ---- */

struct err *kernel_symbols(struct linux_kernel *k, const struct kallsyms **ret)
{
	if (!k->info)
		return err_new(ERR_UNKNOWN, "the kernel's symbols are found by its VMCOREINFO, and there is none");
	if (!k->symbols && !k->no_symbols)
		k->no_symbols = kallsyms_open(k->guest, k->image->regs, k->info, &k->symbols);
	if (k->no_symbols)
		return err_rebuild(err_code(k->no_symbols), err_errno(k->no_symbols), err_text(k->no_symbols));
	*ret = k->symbols;
	return NULL;
}

struct err *kernel_symbol(struct linux_kernel *k, const char *name, uint64_t *ret)
{
	const struct kallsyms *symbols;
	struct err *e = kernel_symbols(k, &symbols);

	if (!e && kallsyms_find(symbols, name, ret))
		return NULL;
	if (k->info && vmcoreinfo_symbol(k->info, name, ret)) {
		err_destroy(e);
		return NULL;
	}
	return e ? e : err_new(ERR_UNKNOWN, "the guest's kernel has no symbol %s in its table (which may be of "
					    "functions only)", name);
}

/* ---- types ---- */

static struct err *read_types(struct linux_kernel *k, struct btf **ret)
{
	uint64_t start = 0, end = 0;
	struct err *e = kernel_symbol(k, "__start_BTF", &start);
	uint8_t *data;

	if (!e)
		e = kernel_symbol(k, "__stop_BTF", &end);
	if (e)
		return e;
	if (end <= start || end - start > MAX_BTF_BYTES)
		return err_new(ERR_INVALID, "the guest's kernel has no BTF of a sound size");
	data = xmalloc((size_t)(end - start));
	e = kernel_read(k, start, data, (size_t)(end - start));
	if (!e)
		e = btf_parse(data, (size_t)(end - start), NULL, ret);
	free(data);
	return e;
}

bool kernel_member(struct linux_kernel *k, const char *type, const char *member, uint32_t *ret)
{
	struct btf_place place;
	uint32_t id;

	if (!k->types && !k->no_types) {
		struct err *e = read_types(k, &k->types);

		k->no_types = e;
		err_destroy(e);
	}
	id = k->types ? btf_struct(k->types, type) : 0;
	if (!id || !btf_find_member(k->types, id, member, &place))
		return false;
	*ret = place.offset;
	return true;
}
