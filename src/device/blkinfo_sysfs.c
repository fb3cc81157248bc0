// SPDX-License-Identifier: GPL-2.0-or-later
#include "blkinfo_sysfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int read_line(char *out, size_t out_bytes, const char *format, va_list args)
{
	char path[PATH_MAX];
	FILE *file;
	size_t length, skip;
	int err = 0;

	out[0] = '\0';
	if ((size_t)vsnprintf(path, sizeof(path), format, args) >= sizeof(path))
		return -ENAMETOOLONG;
	file = fopen(path, "re");
	if (file == NULL)
		return -errno;
	errno = 0;
	if (fgets(out, (int)out_bytes, file) == NULL) {
		out[0] = '\0';
		err = errno != 0 ? -errno : -ENODATA;
	}
	fclose(file);
	length = strlen(out);
	while (length > 0 && isspace((unsigned char)out[length - 1]))
		out[--length] = '\0';
	skip = strspn(out, " \t");
	memmove(out, out + skip, length - skip + 1);
	return err;
}

int gw_sysfs_text(char *out, size_t out_bytes, const char *format, ...)
{
	va_list args;
	int err;

	va_start(args, format);
	err = read_line(out, out_bytes, format, args);
	va_end(args);
	return err;
}

bool gw_sysfs_u64(uint64_t *value, const char *format, ...)
{
	char text[64], *end;
	unsigned long long number;
	va_list args;
	int err;

	va_start(args, format);
	err = read_line(text, sizeof(text), format, args);
	va_end(args);
	if (err < 0 || !isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*value = number;
	return true;
}

static bool read_dev(const char *path, dev_t *dev)
{
	char text[32];
	unsigned int maj, min;

	if (gw_sysfs_text(text, sizeof(text), "%s/dev", path) < 0 ||
	    sscanf(text, "%u:%u", &maj, &min) != 2)
		return false;
	*dev = makedev(maj, min);
	return true;
}

int gw_sysfs_block_find(struct gw_sysfs_block *block, dev_t dev)
{
	char link[64];
	uint64_t sectors = 0;
	char *slash;

	memset(block, 0, sizeof(*block));
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (realpath(link, block->path) == NULL)
		return -ENODEV;
	slash = strrchr(block->path, '/');
	snprintf(block->name, sizeof(block->name), "%s", slash + 1);
	snprintf(block->disk_path, sizeof(block->disk_path), "%s", block->path);
	/* "partition" holds the number; a whole disk has no such file. */
	block->is_partition = gw_sysfs_u64(&sectors, "%s/partition", block->path);
	if (block->is_partition)
		block->disk_path[slash - block->path] = '\0';
	snprintf(block->disk_name, sizeof(block->disk_name), "%s",
		 strrchr(block->disk_path, '/') + 1);
	if (!read_dev(block->disk_path, &block->disk_dev))
		return -ENODEV;
	/* sysfs counts sectors of 512 bytes whatever the device's sector is. */
	if (block->is_partition && gw_sysfs_u64(&sectors, "%s/start", block->path))
		block->first_bytes = sectors << 9;
	if (gw_sysfs_u64(&sectors, "%s/size", block->path))
		block->size_bytes = sectors << 9;
	return 0;
}

int gw_sysfs_each_dev(const char *dir_path, int (*fn)(void *arg, dev_t dev), void *arg)
{
	DIR *const dir = opendir(dir_path);
	int answer = 0;

	if (dir == NULL)
		return 0;
	for (struct dirent *entry; answer == 0 && (entry = readdir(dir)) != NULL;) {
		char path[PATH_MAX];
		dev_t dev;

		if (entry->d_name[0] == '.' ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name) >=
			    sizeof(path))
			continue;
		if (read_dev(path, &dev))
			answer = fn(arg, dev);
	}
	closedir(dir);
	return answer;
}
