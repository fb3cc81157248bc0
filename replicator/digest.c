// SPDX-License-Identifier: GPL-2.0-or-later
#include "digest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define XXH_STATIC_LINKING_ONLY		/* a hash state on the stack */
/* The library's own choice of instruction set at run time, where it was built with it. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#include "units.h"

#define DIGEST_MAGIC UINT32_C(0x44525747)	/* "GWRD" in the file */
#define DIGEST_VERSION 1
#define HEADER_BYTES 4096

/* The first bytes of the header page; the rest of it is zero. */
struct header {
	uint32_t magic;
	uint16_t version;
	uint16_t reserved;
	uint32_t grain_bytes;
	uint32_t reserved2;
	uint64_t size_bytes;
	uint64_t generation;
	uint64_t xxh3;			/* of the page with this field 0 */
};
_Static_assert(sizeof(struct header) == 40, "layout of the digest file");
/* The words are mapped and used in place, and the file is little-endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "mapped words");

uint64_t gw_digests_file_bytes(const struct gw_geom *geom)
{
	const uint64_t bytes = HEADER_BYTES + geom->size_grains * sizeof(uint64_t);

	return (bytes + HEADER_BYTES - 1) / HEADER_BYTES * HEADER_BYTES;
}

static uint64_t page_checksum(const void *page)
{
	unsigned char copy[HEADER_BYTES];

	memcpy(copy, page, sizeof(copy));
	memset(copy + offsetof(struct header, xxh3), 0, sizeof(uint64_t));
	return XXH3_64bits(copy, sizeof(copy));
}

static void write_header(void *page, const struct gw_geom *geom, uint64_t generation)
{
	struct header header = {
		.magic = DIGEST_MAGIC,
		.version = DIGEST_VERSION,
		.grain_bytes = geom->grain_bytes,
		.size_bytes = geom->size_bytes,
		.generation = generation,
	};

	memset(page, 0, HEADER_BYTES);
	memcpy(page, &header, sizeof(header));
	header.xxh3 = page_checksum(page);
	memcpy(page, &header, sizeof(header));
}

static int fail_no_space(int dir_fd, const char *dir, uint64_t need_bytes, struct gw_diag *diag)
{
	char need[GW_UNIT_TEXT_BYTES], have[GW_UNIT_TEXT_BYTES], missing[GW_UNIT_TEXT_BYTES];
	struct statvfs fs;
	uint64_t free_bytes = 0;

	if (fstatvfs(dir_fd, &fs) == 0)
		free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return gw_fail_exit(diag, GW_EXIT_CANNOT, -ENOSPC,
			    "%s: no space for the digests: %s needed, %s free, %s missing; "
			    "free some, use --state-dir, or a coarser --grain", dir,
			    gw_format_bytes(need, need_bytes), gw_format_bytes(have, free_bytes),
			    gw_format_bytes(missing,
					    need_bytes > free_bytes ? need_bytes - free_bytes : 0));
}

/* Real blocks: a store to a mapped hole on a full disk would be a SIGBUS. */
static int allocate(int fd, int dir_fd, const char *dir, uint64_t bytes, struct gw_diag *diag)
{
	int err;

	do
		err = posix_fallocate(fd, 0, (off_t)bytes);
	while (err == EINTR);
	if (err == ENOSPC || err == EDQUOT)
		return fail_no_space(dir_fd, dir, bytes, diag);
	if (err != 0)
		return gw_fail(diag, -err, "%s/" GW_DIGEST_FILE ": cannot be allocated: %s", dir,
			       strerror(err));
	return 0;
}

static int map_file(struct gw_digests *digests, int fd, const char *dir,
		    const struct gw_geom *geom, struct gw_diag *diag)
{
	const uint64_t bytes = gw_digests_file_bytes(geom);
	void *const map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return gw_fail(diag, -errno, "%s/" GW_DIGEST_FILE ": cannot be mapped: %s", dir,
			       strerror(errno));
	/* The watchdog is forked inside the blackout; it has no use for this. */
	madvise(map, bytes, MADV_DONTFORK);
	/* Not with the rest: it grows with the device, and lies where nothing is frozen. */
	munlock(map, bytes);
	*digests = (struct gw_digests){
		.words = (uint64_t *)((char *)map + HEADER_BYTES),
		.geom = *geom,
		.map = map,
		.map_bytes = bytes,
		.fd = fd,
	};
	return 0;
}

static int open_dir(const char *dir, struct gw_diag *diag)
{
	const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : gw_fail(diag, -errno, "%s: %s", dir, strerror(errno));
}

/* Fills, maps and syncs the new file. On failure fd is still the caller's. */
static int build_file(struct gw_digests *digests, int fd, int dir_fd, const char *dir,
		      const struct gw_geom *geom, uint64_t generation, struct gw_diag *diag)
{
	int err = allocate(fd, dir_fd, dir, gw_digests_file_bytes(geom), diag);

	if (err == 0)
		err = map_file(digests, fd, dir, geom, diag);
	if (err != 0)
		return err;
	write_header(digests->map, geom, generation);
	if (fsync(fd) == 0 && fsync(dir_fd) == 0)
		return 0;
	err = gw_fail(diag, -errno, "%s/" GW_DIGEST_FILE ": sync: %s", dir, strerror(errno));
	munmap(digests->map, digests->map_bytes);
	memset(digests, 0, sizeof(*digests));
	return err;
}

int gw_digests_create(struct gw_digests *digests, const char *dir, const struct gw_geom *geom,
		      uint64_t generation, struct gw_diag *diag)
{
	int dir_fd, fd, err;

	memset(digests, 0, sizeof(*digests));
	dir_fd = open_dir(dir, diag);
	if (dir_fd < 0)
		return dir_fd;
	fd = openat(dir_fd, GW_DIGEST_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		err = gw_fail(diag, -errno, "%s/" GW_DIGEST_FILE ": %s", dir, strerror(errno));
		close(dir_fd);
		return err;
	}
	err = build_file(digests, fd, dir_fd, dir, geom, generation, diag);
	if (err != 0) {
		unlinkat(dir_fd, GW_DIGEST_FILE, 0);
		close(fd);
	}
	close(dir_fd);
	return err;
}

static int check_header(const void *page, const char *dir, const struct gw_geom *geom,
			uint64_t generation, struct gw_diag *diag)
{
	struct header header;

	memcpy(&header, page, sizeof(header));
	if (header.magic != DIGEST_MAGIC || header.xxh3 != page_checksum(page))
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				    "%s/" GW_DIGEST_FILE ": is damaged (its header)", dir);
	if (header.version != DIGEST_VERSION)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBADMSG,
				    "%s/" GW_DIGEST_FILE ": has version %u, this godwit knows %u",
				    dir, header.version, DIGEST_VERSION);
	if (header.size_bytes != geom->size_bytes || header.grain_bytes != geom->grain_bytes)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBADMSG,
				    "%s/" GW_DIGEST_FILE ": belongs to a device of %llu bytes in "
				    "grains of %u, not %llu in grains of %u", dir,
				    (unsigned long long)header.size_bytes, header.grain_bytes,
				    (unsigned long long)geom->size_bytes, geom->grain_bytes);
	if (header.generation != generation)
		return gw_fail_exit(diag, GW_EXIT_CANNOT, -EBADMSG,
				    "%s/" GW_DIGEST_FILE ": belongs to generation %llu of the "
				    "tracking, not %llu", dir,
				    (unsigned long long)header.generation,
				    (unsigned long long)generation);
	return 0;
}

static int check_file(int fd, const char *dir, const struct gw_geom *geom, uint64_t generation,
		      struct gw_diag *diag)
{
	unsigned char page[HEADER_BYTES];
	struct stat st;
	ssize_t got;

	if (fstat(fd, &st) != 0)
		return gw_fail(diag, -errno, "%s/" GW_DIGEST_FILE ": %s", dir, strerror(errno));
	do
		got = pread(fd, page, sizeof(page), 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return gw_fail(diag, -errno, "%s/" GW_DIGEST_FILE ": %s", dir, strerror(errno));
	if (!S_ISREG(st.st_mode) || got != (ssize_t)sizeof(page))
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				    "%s/" GW_DIGEST_FILE ": is damaged (too short)", dir);
	const int err = check_header(page, dir, geom, generation, diag);

	if (err != 0)
		return err;
	/* A mapped page past the end would be a SIGBUS. */
	if ((uint64_t)st.st_size != gw_digests_file_bytes(geom))
		return gw_fail_exit(diag, GW_EXIT_UNCLEAR, -EBADMSG,
				    "%s/" GW_DIGEST_FILE ": is damaged (%lld bytes, not %llu)", dir,
				    (long long)st.st_size,
				    (unsigned long long)gw_digests_file_bytes(geom));
	return 0;
}

int gw_digests_open(struct gw_digests *digests, const char *dir, const struct gw_geom *geom,
		    uint64_t generation, struct gw_diag *diag)
{
	char path[PATH_MAX];
	int fd, err;

	memset(digests, 0, sizeof(*digests));
	if (snprintf(path, sizeof(path), "%s/" GW_DIGEST_FILE, dir) >= (int)sizeof(path))
		return gw_fail(diag, -ENAMETOOLONG, "%s: the path is too long", dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0)
		return gw_fail(diag, -errno, "%s: %s", path, strerror(errno));
	err = check_file(fd, dir, geom, generation, diag);
	if (err == 0)
		err = map_file(digests, fd, dir, geom, diag);
	if (err != 0)
		close(fd);
	return err;
}

int gw_digests_sync(struct gw_digests *digests, struct gw_diag *diag)
{
	assert(digests->map != NULL);
	if (msync(digests->map, digests->map_bytes, MS_SYNC) != 0)
		return gw_fail(diag, -errno, GW_DIGEST_FILE ": sync: %s", strerror(errno));
	return 0;
}

void gw_digests_close(struct gw_digests *digests)
{
	if (digests->map != NULL) {
		munmap(digests->map, digests->map_bytes);
		close(digests->fd);
	}
	memset(digests, 0, sizeof(*digests));
}

static uint64_t known(uint64_t hash)
{
	return hash != GW_DIGEST_UNKNOWN ? hash : 1;
}

uint64_t gw_digest_of(const void *data, size_t bytes)
{
	return known(XXH3_64bits(data, bytes));
}

uint64_t gw_digest_of_zeroes(size_t bytes)
{
	static const unsigned char zeroes[4096];
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	XXH3_64bits_reset(&state);
	while (bytes > 0) {
		const size_t part = bytes < sizeof(zeroes) ? bytes : sizeof(zeroes);

		XXH3_64bits_update(&state, zeroes, part);
		bytes -= part;
	}
	return known(XXH3_64bits_digest(&state));
}

uint64_t gw_digests_digest(const struct gw_digests *digests)
{
	assert(digests->map != NULL);
	return XXH3_64bits(digests->words, digests->geom.size_grains * sizeof(uint64_t));
}
