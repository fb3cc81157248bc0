// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine alone, source to target, without tracking and journal: to choose
 * buffers and run length, and to see what hashing costs. Overwrites TARGET.
 *
 * copy_engine [-b BUFFERS] [-r RUN_BYTES] [-g GRAIN_BYTES] [-l BYTES_PER_S]
 *             [-H (no digests)] [-T (no huge pages)] [-c (compare)] [-z (target is zero)] [-v (verify)]
 *             SOURCE TARGET
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitmap.h"
#include "clock.h"
#include "dev.h"
#include "engine.h"
#include "err.h"
#include "geom.h"

struct options {
	uint32_t buffers, run_bytes, grain_bytes;
	uint64_t bytes_per_s;
	bool no_digests, no_huge_pages, compare, target_is_zero, verify;
	const char *source, *target;
};

static int parse(struct options *options, int argc, char **argv)
{
	int c;

	*options = (struct options){ .buffers = 8, .run_bytes = 1 << 20, .grain_bytes = 4096 };
	while ((c = getopt(argc, argv, "b:r:g:l:HTczv")) != -1) {
		switch (c) {
		case 'b': options->buffers = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'r': options->run_bytes = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'g': options->grain_bytes = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'l': options->bytes_per_s = strtoull(optarg, NULL, 0); break;
		case 'H': options->no_digests = true; break;
		case 'T': options->no_huge_pages = true; break;
		case 'c': options->compare = true; break;
		case 'z': options->target_is_zero = true; break;
		case 'v': options->verify = true; break;
		default: return -1;
		}
	}
	if (argc - optind != 2)
		return -1;
	options->source = argv[optind];
	options->target = argv[optind + 1];
	return 0;
}

static int open_end(const char *path, int flags, struct gw_end_info *info)
{
	const int fd = open(path, flags | O_DIRECT | O_CLOEXEC);
	struct stat st;
	int align = 512;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	info->is_file = S_ISREG(st.st_mode);
	info->size_bytes = (uint64_t)st.st_size;
	info->align_bytes = 4096;
	if (!info->is_file && (ioctl(fd, BLKGETSIZE64, &info->size_bytes) < 0 ||
			       ioctl(fd, BLKSSZGET, &align) < 0))
		return -1;
	if (!info->is_file)
		info->align_bytes = (uint32_t)align;
	return fd;
}

static void *new_slab(const struct options *options, size_t *bytes)
{
	const size_t huge = (size_t)2 << 20;
	void *slab;

	*bytes = gw_engine_slab_bytes(options->buffers, options->run_bytes, options->compare);
	*bytes = (*bytes + huge - 1) / huge * huge;
	slab = aligned_alloc(huge, *bytes);
	if (slab == NULL)
		return NULL;
	madvise(slab, *bytes, options->no_huge_pages ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	memset(slab, 1, *bytes);
	return slab;
}

static double cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(const char *what, const struct options *options, uint64_t bytes, uint64_t ns,
		   double cpu, const struct gw_engine_stats *stats)
{
	const double gib = (double)bytes / (double)(UINT64_C(1) << 30);

	printf("{\"what\": \"%s\", \"buffers\": %u, \"run_bytes\": %u, \"bytes\": %llu, "
	       "\"gib_per_s\": %.3f, \"cpu_s_per_gib\": %.3f, \"written_bytes\": %llu, "
	       "\"zeroed_bytes\": %llu, \"zero_skipped_bytes\": %llu, \"same_skipped_bytes\": %llu, "
	       "\"flushes\": %llu, \"flush_ns_max\": %llu}\n",
	       what, options->buffers, options->run_bytes, (unsigned long long)bytes,
	       gib / ((double)ns / 1e9), cpu / gib, (unsigned long long)stats->written_bytes,
	       (unsigned long long)stats->zeroed_bytes,
	       (unsigned long long)stats->zero_skipped_bytes,
	       (unsigned long long)stats->same_skipped_bytes, (unsigned long long)stats->flushes,
	       (unsigned long long)stats->flush_ns_max);
}

struct bench {
	struct options options;
	struct gw_dev_uring_config uring;
	struct gw_engine_config config;
	struct gw_bitmap pending, copying, unverified;
	struct gw_pacer pacer;
	struct gw_diag diag;
	struct gw_engine *engine;
};

static int fail(const struct bench *bench, const char *what, int err)
{
	fprintf(stderr, "copy_engine: %s: %s\n", what,
		bench->diag.failed ? bench->diag.text : strerror(-err));
	return err;
}

static int open_ends(struct bench *bench)
{
	struct gw_dev_uring_config *const uring = &bench->uring;
	const struct options *const options = &bench->options;
	int err;

	uring->fd[GW_SOURCE] = open_end(options->source, O_RDONLY, &uring->ends[GW_SOURCE]);
	uring->fd[GW_TARGET] = open_end(options->target, O_RDWR, &uring->ends[GW_TARGET]);
	if (uring->fd[GW_SOURCE] < 0 || uring->fd[GW_TARGET] < 0)
		return fail(bench, "open", -errno);
	uring->slab = new_slab(options, &uring->slab_bytes);
	if (uring->slab == NULL)
		return fail(bench, "slab", -ENOMEM);
	uring->depth = gw_engine_depth(options->buffers);
	uring->clock = &gw_clock_monotonic;
	err = gw_dev_open_uring(&bench->config.dev, uring, &bench->diag);
	return err < 0 ? fail(bench, "io_uring", err) : 0;
}

static int new_bitmaps(struct bench *bench)
{
	const uint64_t size_grains = bench->config.geom.size_grains;

	if (gw_bitmap_create(&bench->pending, size_grains) < 0 ||
	    gw_bitmap_create(&bench->copying, size_grains) < 0 ||
	    gw_bitmap_create(&bench->unverified, size_grains) < 0)
		return fail(bench, "bitmaps", -ENOMEM);
	gw_bitmap_set(&bench->pending, (struct gw_run){ 0, size_grains });
	bench->config.pending = &bench->pending;
	bench->config.copying = &bench->copying;
	if (bench->options.no_digests)
		return 0;
	bench->config.unverified = &bench->unverified;
	bench->config.digests = calloc(size_grains, sizeof(uint64_t));
	return bench->config.digests != NULL ? 0 : fail(bench, "digests", -ENOMEM);
}

static int new_engine(struct bench *bench)
{
	struct gw_engine_config *const config = &bench->config;
	int err = gw_geom_init(&config->geom, bench->uring.ends[GW_SOURCE].size_bytes,
			       bench->options.grain_bytes);

	if (err < 0)
		return fail(bench, "geometry", err);
	err = new_bitmaps(bench);
	if (err < 0)
		return err;
	config->clock = &gw_clock_monotonic;
	gw_pacer_set(&bench->pacer, bench->options.bytes_per_s, gw_now_ns(config->clock));
	config->pacer = &bench->pacer;
	config->slab = bench->uring.slab;
	config->buffers = bench->options.buffers;
	config->run_bytes = bench->options.run_bytes;
	config->compare = bench->options.compare;
	config->target_is_zero = bench->options.target_is_zero;
	config->diag = &bench->diag;
	err = gw_engine_create(&bench->engine, config);
	return err < 0 ? fail(bench, "engine", err) : 0;
}

static int measure(struct bench *bench, const char *what, int (*run)(struct gw_engine *engine))
{
	const uint64_t start_ns = gw_now_ns(&gw_clock_monotonic);
	const double start_cpu = cpu_s();
	const int err = run(bench->engine);

	if (err < 0)
		return fail(bench, what, err);
	report(what, &bench->options, bench->config.geom.size_bytes,
	       gw_now_ns(&gw_clock_monotonic) - start_ns, cpu_s() - start_cpu,
	       gw_engine_stats(bench->engine));
	return 0;
}

static int end(struct bench *bench)
{
	const struct gw_end_info *const info = &bench->uring.ends[GW_TARGET];

	gw_engine_destroy(bench->engine);
	gw_dev_close(bench->config.dev);
	gw_bitmap_destroy(&bench->pending);
	gw_bitmap_destroy(&bench->copying);
	gw_bitmap_destroy(&bench->unverified);
	free(bench->config.digests);
	free(bench->uring.slab);
	if (info->is_file && ftruncate(bench->uring.fd[GW_TARGET], (off_t)info->size_bytes) < 0)
		return fail(bench, "truncate", -errno);
	return 0;
}

int main(int argc, char **argv)
{
	static struct bench bench;

	if (parse(&bench.options, argc, argv) < 0) {
		fprintf(stderr, "usage: copy_engine [-b N] [-r BYTES] [-g BYTES] [-l BYTES_PER_S] "
			"[-HTczv] SOURCE TARGET\n");
		return 2;
	}
	if (open_ends(&bench) < 0 || new_engine(&bench) < 0 ||
	    measure(&bench, "copy", gw_engine_copy) < 0)
		return EXIT_FAILURE;
	if (bench.options.verify && measure(&bench, "verify", gw_engine_verify) < 0)
		return EXIT_FAILURE;
	return end(&bench) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
