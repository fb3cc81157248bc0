// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes mixed data to a device or a file: extents of 64 KiB to 4 MiB, by bytes half
 * zeroes (written, not holes), a quarter text, a quarter random. The same for the same SEED.
 *
 * fill [-s SEED] [-a (no mixture: a byte that is not zero, everywhere)] BYTES PATH
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT_BYTES (UINT64_C(64) << 10)
#define EXTENT_UNITS_MAX 64

static uint64_t random_state;

/* splitmix64 */
static uint64_t next_random(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void fill_text(char *to, size_t bytes)
{
	static const char *const words[] = {
		"the ", "block ", "device ", "is ", "written ", "while ", "it ", "moves\n",
		"and ", "nothing ", "of ", "that ", "was ", "acknowledged ", "may ", "get lost.\n",
	};

	while (bytes > 0) {
		const char *const word = words[next_random() % (sizeof(words) / sizeof(words[0]))];
		const size_t length = strlen(word) < bytes ? strlen(word) : bytes;

		memcpy(to, word, length);
		to += length;
		bytes -= length;
	}
}

static void fill_random(char *to, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
		const uint64_t word = next_random();

		memcpy(to + at, &word, sizeof(word));
	}
}

/* Zero, text, zero, random, and so on: lengths that come in fours keep the shares. */
static size_t next_extent(char *to, unsigned int turn)
{
	static size_t bytes;

	if (turn % 4 == 0)
		bytes = (1 + next_random() % EXTENT_UNITS_MAX) * UNIT_BYTES;
	if (turn % 2 == 0)
		memset(to, 0, bytes);
	else if (turn % 4 == 1)
		fill_text(to, bytes);
	else
		fill_random(to, bytes);
	return bytes;
}

static int write_all(int fd, const char *data, size_t bytes)
{
	while (bytes > 0) {
		const ssize_t done = write(fd, data, bytes);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -1;
		data += done;
		bytes -= (size_t)done;
	}
	return 0;
}

static int fill(int fd, uint64_t bytes, bool plain)
{
	static char buffer[EXTENT_UNITS_MAX * UNIT_BYTES];
	size_t length = sizeof(buffer);

	memset(buffer, 0xa5, sizeof(buffer));
	for (unsigned int turn = 0; bytes > 0; turn++) {
		if (!plain)
			length = next_extent(buffer, turn);
		if (length > bytes)
			length = bytes;
		if (write_all(fd, buffer, length) < 0)
			return -1;
		bytes -= length;
	}
	return fsync(fd);
}

int main(int argc, char **argv)
{
	bool plain = false;
	int c, fd;

	while ((c = getopt(argc, argv, "s:a")) != -1) {
		if (c == 's')
			random_state = strtoull(optarg, NULL, 0);
		else if (c == 'a')
			plain = true;
		else
			argc = 0;
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: fill [-s SEED] [-a] BYTES PATH\n");
		return 2;
	}
	fd = open(argv[optind + 1], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fill(fd, strtoull(argv[optind], NULL, 0), plain) < 0) {
		fprintf(stderr, "fill: %s: %s\n", argv[optind + 1], strerror(errno));
		return EXIT_FAILURE;
	}
	return close(fd) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
