/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vmm/vmm.h"

enum option_id {
	OPT_CPUS = 1, OPT_VMS, OPT_THREADS, OPT_TOUCH, OPT_MODE, OPT_RAM, OPT_FILL, OPT_HALT, OPT_PIO,
	OPT_MMIO, OPT_PAUSED, OPT_SECCOMP, OPT_SHARED, OPT_HUGEPAGES, OPT_LOW, OPT_CHANGE_SLOTS,
	OPT_TOLERATE_EINTR, OPT_NO_MEMORY, OPT_CORE, OPT_STAMP,
};

static const struct option long_options[] = {
	{"cpus", required_argument, NULL, OPT_CPUS},
	{"vms", required_argument, NULL, OPT_VMS},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"touch", required_argument, NULL, OPT_TOUCH},
	{"mode", required_argument, NULL, OPT_MODE},
	{"ram", required_argument, NULL, OPT_RAM},
	{"fill", required_argument, NULL, OPT_FILL},
	{"halt", no_argument, NULL, OPT_HALT},
	{"pio", no_argument, NULL, OPT_PIO},
	{"mmio", no_argument, NULL, OPT_MMIO},
	{"stamp", no_argument, NULL, OPT_STAMP},
	{"paused", no_argument, NULL, OPT_PAUSED},
	{"seccomp", no_argument, NULL, OPT_SECCOMP},
	{"shared", no_argument, NULL, OPT_SHARED},
	{"hugepages", no_argument, NULL, OPT_HUGEPAGES},
	{"low", no_argument, NULL, OPT_LOW},
	{"change-slots", no_argument, NULL, OPT_CHANGE_SLOTS},
	{"tolerate-eintr", no_argument, NULL, OPT_TOLERATE_EINTR},
	{"no-memory", no_argument, NULL, OPT_NO_MEMORY},
	{"core", required_argument, NULL, OPT_CORE},
	{0},
};

static const char *const mode_names[] = {
	[MODE_16] = "16", [MODE_FLAT] = "flat", [MODE_32] = "32", [MODE_PAE] = "pae", [MODE_LONG] = "long",
	[MODE_REAL] = "real",
};

static const char *const work_names[] = {
	[WORK_COUNT] = "count", [WORK_HALT] = "halt", [WORK_PORT] = "pio", [WORK_MMIO] = "mmio",
	[WORK_STAMP] = "stamp", [WORK_SPIN] = "spin",
};

const char *mode_name(enum guest_mode mode)
{
	return mode_names[mode];
}

bool mode_pages(enum guest_mode mode)
{
	return mode >= MODE_32 && mode <= MODE_LONG;
}

const char *work_name(enum guest_work work)
{
	return work_names[work];
}

static uint64_t parse_number(const char *text, uint64_t min, uint64_t max)
{
	uint64_t n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || end == text || *end || n < min || n > max)
		die(STATUS_USAGE, "'%s' is no number from %llu to %llu", text, (unsigned long long)min,
		    (unsigned long long)max);
	return n;
}

static enum guest_mode parse_mode(const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(mode_names); i++)
		if (!strcmp(text, mode_names[i]))
			return i;
	die(STATUS_USAGE, "--mode is 16, flat, 32, pae, long or real, not '%s'", text);
}

static bool parse_random(const char *text)
{
	if (strcmp(text, "random") && strcmp(text, "pattern"))
		die(STATUS_USAGE, "--fill is random or pattern, not '%s'", text);
	return !strcmp(text, "random");
}

static void take_switch(struct options *opt, int id)
{
	switch (id) {
	case OPT_HALT: opt->work = WORK_HALT; break;
	case OPT_PIO: opt->work = WORK_PORT; break;
	case OPT_MMIO: opt->work = WORK_MMIO; break;
	case OPT_STAMP: opt->work = WORK_STAMP; break;
	case OPT_PAUSED: opt->paused = true; break;
	case OPT_SECCOMP: opt->jailed = true; break;
	case OPT_SHARED: opt->shared = true; break;
	case OPT_HUGEPAGES: opt->hugepages = true; break;
	case OPT_LOW: opt->low = true; break;
	case OPT_CHANGE_SLOTS: opt->change_slots = true; break;
	case OPT_TOLERATE_EINTR: opt->tolerate_eintr = true; break;
	case OPT_NO_MEMORY: opt->no_memory = opt->paused = true; break;
	default: die(STATUS_USAGE, "unknown option or missing value");
	}
}

static void take_option(struct options *opt, int id, const char *value)
{
	switch (id) {
	case OPT_CPUS: opt->cpus = parse_number(value, 0, MAX_CPUS); break;
	case OPT_VMS: opt->vms = parse_number(value, 1, 4); break;
	case OPT_THREADS: opt->threads = parse_number(value, 0, 1000); break;
	case OPT_TOUCH: opt->touch_percent = parse_number(value, 0, 100); break;
	case OPT_RAM: opt->ram_bytes = parse_number(value, RAM_BYTES, GPA_MMIO) & ~0xfffull; break;
	case OPT_MODE: opt->mode = parse_mode(value); break;
	case OPT_CORE: opt->core = value; break;
	case OPT_FILL: opt->random = parse_random(value); break;
	default: take_switch(opt, id);
	}
}

static void check_options(struct options *opt)
{
	if (opt->work == WORK_STAMP && (opt->mode != MODE_LONG || gpa_stamp(opt->cpus) > RAM_BYTES))
		die(STATUS_USAGE, "--stamp needs --mode long, and fewer vCPUs than %u", opt->cpus);
	if (!opt->core)
		return;
	if (opt->mode != MODE_LONG || opt->work > WORK_HALT || opt->change_slots || opt->no_memory)
		die(STATUS_USAGE, "--core takes no --mode, --pio, --mmio, --stamp, --change-slots or --no-memory");
	if (opt->work != WORK_HALT)
		opt->work = WORK_SPIN;
}

void options_parse(struct options *opt, int argc, char **argv)
{
	int id;

	*opt = (struct options){
		.cpus = 2, .vms = 1, .touch_percent = 75, .ram_bytes = RAM_BYTES, .mode = default_mode,
	};
	opterr = 0;
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		take_option(opt, id, optarg);
	if (optind != argc)
		die(STATUS_USAGE, "unknown word '%s'", argv[optind]);
	check_options(opt);
}
