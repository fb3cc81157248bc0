// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "digest.h"

#define SIZE_BYTES (UINT64_C(1001) * 4096 + 512)	/* 1002 grains, the last one partial */

static char dir[] = "/tmp/godwit-digest-XXXXXX";
static char path[64];
static struct gw_geom geom;
static struct gw_digests digests;

static void begin(void)
{
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/" GW_DIGEST_FILE, dir);
	cr_assert_eq(gw_geom_init(&geom, SIZE_BYTES, 4096), 0);
}

static void end(void)
{
	gw_digests_close(&digests);
	unlink(path);
	rmdir(dir);
}

TestSuite(digest, .init = begin, .fini = end);

static void flip(off_t at)
{
	const int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	cr_assert(fd >= 0);
	cr_assert_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

Test(digest, a_new_file_knows_nothing_and_has_its_space)
{
	struct stat st;

	cr_assert_eq(gw_digests_create(&digests, dir, &geom, 7, NULL), 0);
	for (uint64_t i = 0; i < geom.size_grains; i++)
		cr_assert_eq(digests.words[i], GW_DIGEST_UNKNOWN);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq((uint64_t)st.st_size, gw_digests_file_bytes(&geom));
	cr_assert_geq((uint64_t)st.st_blocks * 512, gw_digests_file_bytes(&geom));
}

Test(digest, words_are_there_again)
{
	cr_assert_eq(gw_digests_create(&digests, dir, &geom, 7, NULL), 0);
	digests.words[0] = 1;
	digests.words[geom.size_grains - 1] = UINT64_MAX;
	cr_assert_eq(gw_digests_sync(&digests, NULL), 0);
	gw_digests_close(&digests);
	cr_assert_null(digests.map);
	cr_assert_eq(gw_digests_open(&digests, dir, &geom, 7, NULL), 0);
	cr_assert_eq(digests.words[0], 1);
	cr_assert_eq(digests.words[1], GW_DIGEST_UNKNOWN);
	cr_assert_eq(digests.words[geom.size_grains - 1], UINT64_MAX);
	cr_assert_eq(digests.geom.size_grains, 1002);
}

Test(digest, an_old_file_is_not_overwritten)
{
	struct gw_digests second;

	cr_assert_eq(gw_digests_create(&digests, dir, &geom, 7, NULL), 0);
	digests.words[3] = 33;
	cr_assert_eq(gw_digests_create(&second, dir, &geom, 8, NULL), -EEXIST);
	cr_assert_null(second.map);
	cr_assert_eq(digests.words[3], 33);
	gw_digests_close(&digests);
	cr_assert_eq(gw_digests_open(&digests, dir, &geom, 7, NULL), 0);
}

Test(digest, what_is_another_files_is_refused)
{
	struct gw_geom other;

	cr_assert_eq(gw_digests_open(&digests, dir, &geom, 7, NULL), -ENOENT);
	cr_assert_eq(gw_digests_create(&digests, dir, &geom, 7, NULL), 0);
	gw_digests_close(&digests);
	cr_assert_eq(gw_digests_open(&digests, dir, &geom, 8, NULL), -EBADMSG);
	cr_assert_eq(gw_geom_init(&other, SIZE_BYTES + 512, 4096), 0);	/* the same grains */
	cr_assert_eq(gw_digests_open(&digests, dir, &other, 7, NULL), -EBADMSG);
	cr_assert_eq(gw_geom_init(&other, SIZE_BYTES, 8192), 0);
	cr_assert_eq(gw_digests_open(&digests, dir, &other, 7, NULL), -EBADMSG);
	cr_assert_null(digests.map);
	cr_assert_eq(gw_digests_open(&digests, dir, &geom, 7, NULL), 0);
}

Test(digest, a_damaged_header_is_refused)
{
	static const off_t places[] = { 0, 4, 6, 8, 12, 16, 24, 32, 39, 40, 2000, 4095 };
	struct gw_diag diag = { 0 };

	cr_assert_eq(gw_digests_create(&digests, dir, &geom, 7, NULL), 0);
	gw_digests_close(&digests);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		flip(places[i]);
		gw_diag_clear(&diag);
		cr_assert_eq(gw_digests_open(&digests, dir, &geom, 7, &diag), -EBADMSG);
		cr_assert_eq(diag.exit_code, GW_EXIT_UNCLEAR);
		cr_assert_not_null(strstr(diag.text, path), "%s", diag.text);
		flip(places[i]);
	}
	cr_assert_eq(gw_digests_open(&digests, dir, &geom, 7, NULL), 0);
}

Test(digest, a_file_of_another_length_is_refused)
{
	static const off_t lengths[] = { 0, 39, 4095, 4096, 8192, 1 << 20 };

	cr_assert_eq(gw_digests_create(&digests, dir, &geom, 7, NULL), 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		gw_digests_close(&digests);
		unlink(path);
		cr_assert_eq(gw_digests_create(&digests, dir, &geom, 7, NULL), 0);
		gw_digests_close(&digests);
		cr_assert_eq(truncate(path, lengths[i]), 0);
		cr_assert_eq(gw_digests_open(&digests, dir, &geom, 7, NULL), -EBADMSG);
	}
}

Test(digest, is_xxh3_but_never_the_word_for_unknown)
{
	/* Found by running XXH3 backwards: its hash is 0. */
	static const unsigned char unlucky[] = { 0x42, 0xd5, 0x68, 0xe1, 0x38, 0xd7, 0x27, 0xff };
	char data[10000];

	cr_assert_eq(XXH3_64bits(unlucky, sizeof(unlucky)), 0);
	cr_assert_eq(gw_digest_of(unlucky, sizeof(unlucky)), 1);
	memset(data, 0xa5, sizeof(data));
	cr_assert_eq(gw_digest_of(data, sizeof(data)), XXH3_64bits(data, sizeof(data)));
	cr_assert_neq(gw_digest_of("", 0), GW_DIGEST_UNKNOWN);
	cr_assert_neq(gw_digest_of(data, 4096), gw_digest_of(data, 4097));
}

Test(digest, of_zeroes_is_that_of_zero_bytes)
{
	static const size_t sizes[] = { 0, 1, 512, 4095, 4096, 4097, 12288, 100000 };
	static const char zeroes[100000];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		cr_assert_eq(gw_digest_of_zeroes(sizes[i]), gw_digest_of(zeroes, sizes[i]));
}

Test(digest, of_digests_sees_each_word_and_their_order)
{
	uint64_t empty, one, swapped;

	cr_assert_eq(gw_digests_create(&digests, dir, &geom, 7, NULL), 0);
	empty = gw_digests_digest(&digests);
	digests.words[geom.size_grains - 1] = 5;
	one = gw_digests_digest(&digests);
	digests.words[geom.size_grains - 2] = 5;
	digests.words[geom.size_grains - 1] = 0;
	swapped = gw_digests_digest(&digests);
	cr_assert_neq(empty, one);
	cr_assert_neq(one, swapped);
	cr_assert_eq(swapped, XXH3_64bits(digests.words, geom.size_grains * 8));
}

Test(digest, close_of_nothing)
{
	struct gw_digests zeroed = { 0 };

	gw_digests_close(&zeroed);
	gw_digests_close(&zeroed);
}
