// SPDX-License-Identifier: GPL-2.0-or-later
#include "dma_map.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_BYTES UINT64_C(4096)

/* ---- Files that shrink ----------------------------------------------------------------------- */

/*
 * What is mapped in this process, for the signal handler: the one thing here that is global,
 * because signals are. A slot is taken by swapping its length from 0 to 1.
 */
#define GUARDED_MAX 1024u
static struct {
	_Atomic uintptr_t at;
	_Atomic size_t bytes;		/* 0: free; 1: being filled in */
} guarded[GUARDED_MAX];

static int guard(void *at, size_t bytes)
{
	for (unsigned int i = 0; i < GUARDED_MAX; i++) {
		size_t expected = 0;

		if (!atomic_compare_exchange_strong(&guarded[i].bytes, &expected, 1))
			continue;
		atomic_store(&guarded[i].at, (uintptr_t)at);
		atomic_store(&guarded[i].bytes, bytes);
		return 0;
	}
	return -ENOSPC;
}

static void unguard(void *at)
{
	for (unsigned int i = 0; i < GUARDED_MAX; i++) {
		if (atomic_load(&guarded[i].bytes) > 1 &&
		    atomic_load(&guarded[i].at) == (uintptr_t)at)
			atomic_store(&guarded[i].bytes, 0);
	}
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	const uintptr_t where = (uintptr_t)info->si_addr;
	const uintptr_t page = where & ~(uintptr_t)(PAGE_BYTES - 1);

	(void)context;
	for (unsigned int i = 0; i < GUARDED_MAX; i++) {
		const size_t bytes = atomic_load(&guarded[i].bytes);
		const uintptr_t at = atomic_load(&guarded[i].at);

		if (bytes <= 1 || where < at || where - at >= bytes)
			continue;
		if (mmap((void *)page, PAGE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
			return;
		/* Huge pages cannot be replaced in part. */
		if (mmap((void *)at, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED)
			return;
	}
	signal(signal_number, SIG_DFL);		/* the access is repeated, and kills */
}

void gw_dma_catch_sigbus(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}

/* ---- The table ------------------------------------------------------------------------------- */

int gw_dma_init(struct gw_dma_map *map)
{
	memset(map, 0, sizeof(*map));
	pthread_mutex_init(&map->lock, NULL);
	pthread_cond_init(&map->idle, NULL);
	return 0;
}

static void put_file(struct gw_dma_file *file)
{
	if (file == NULL || --file->ranges > 0)
		return;
	unguard(file->at);
	munmap(file->at, file->bytes);
	file->at = NULL;
}

void gw_dma_fini(struct gw_dma_map *map)
{
	gw_dma_remove(map, 0, 0);
	free(map->range);
	pthread_cond_destroy(&map->idle);
	pthread_mutex_destroy(&map->lock);
	memset(map, 0, sizeof(*map));
}

/* The first range that ends after iova, or the count of ranges. */
static uint32_t find(const struct gw_dma_map *map, uint64_t iova)
{
	uint32_t low = 0, high = map->count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const struct gw_dma_range *range = &map->range[middle];

		if (range->iova + (range->bytes - 1) < iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int map_file(struct gw_dma_file *file, int fd, const struct stat *st)
{
	void *at = mmap(NULL, (size_t)st->st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	file->writable = at != MAP_FAILED;
	if (at == MAP_FAILED)
		at = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	if (guard(at, (size_t)st->st_size) < 0) {
		munmap(at, (size_t)st->st_size);
		return -ENOSPC;
	}
	file->at = at;
	file->bytes = (uint64_t)st->st_size;
	file->device = st->st_dev;
	file->inode = st->st_ino;
	file->ranges = 0;
	return 0;
}

/* The same file comes with every range of it: mapped once, whole; again if it has grown. */
static int get_file(struct gw_dma_map *map, int fd, uint64_t end, struct gw_dma_file **out)
{
	struct gw_dma_file *spare = NULL;
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	    end > (uint64_t)st.st_size)
		return -EINVAL;
	for (unsigned int i = 0; i < GW_DMA_FILES_MAX; i++) {
		struct gw_dma_file *file = &map->file[i];

		if (file->at == NULL)
			spare = file;
		else if (file->device == st.st_dev && file->inode == st.st_ino && end <= file->bytes)
			return *out = file, 0;
	}
	if (spare == NULL)
		return -ENOSPC;
	err = map_file(spare, fd, &st);
	if (err == 0)
		*out = spare;
	return err;
}

static int make_room(struct gw_dma_map *map)
{
	const uint32_t room = map->room == 0 ? 64 : map->room * 2;
	struct gw_dma_range *range;

	if (map->count < map->room)
		return 0;
	if (map->count >= GW_DMA_RANGES_MAX)
		return -ENOSPC;
	range = realloc(map->range, room * sizeof(*range));
	if (range == NULL)
		return -ENOMEM;
	map->range = range;
	map->room = room;
	return 0;
}

static int insert(struct gw_dma_map *map, const struct gw_dma_range *range)
{
	const uint32_t at = find(map, range->iova);
	int err;

	if (at < map->count && map->range[at].iova <= range->iova + (range->bytes - 1))
		return -EINVAL;
	err = make_room(map);
	if (err < 0)
		return err;
	memmove(&map->range[at + 1], &map->range[at], (map->count - at) * sizeof(*range));
	map->range[at] = *range;
	map->count++;
	return 0;
}

int gw_dma_add(struct gw_dma_map *map, int fd, uint64_t offset, uint64_t iova, uint64_t bytes,
	       uint32_t flags)
{
	struct gw_dma_range range = { .iova = iova, .bytes = bytes, .flags = flags };
	int err = 0;

	if (bytes == 0 || iova > UINT64_MAX - (bytes - 1) || offset > UINT64_MAX - bytes ||
	    (flags & ~(GW_DMA_READ | GW_DMA_WRITE)) != 0)
		return -EINVAL;
	if (fd >= 0)
		err = get_file(map, fd, offset + bytes, &range.file);
	if (err < 0)
		return err;
	if (range.file != NULL) {
		range.at = (uint8_t *)range.file->at + offset;
		range.file->ranges++;
		if (!range.file->writable)
			range.flags &= ~GW_DMA_WRITE;
	}
	pthread_mutex_lock(&map->lock);
	err = insert(map, &range);
	pthread_mutex_unlock(&map->lock);
	if (err < 0)
		put_file(range.file);
	return err;
}

/* Takes ranges [first, end) out of the table; they come back in a list of their own. */
static struct gw_dma_range *take_out(struct gw_dma_map *map, uint64_t iova, uint64_t bytes,
				     uint32_t *count)
{
	uint32_t first = 0, end = map->count;
	struct gw_dma_range *taken = NULL;

	if (bytes != 0) {
		const uint64_t last = iova > UINT64_MAX - (bytes - 1) ? UINT64_MAX : iova + (bytes - 1);

		first = find(map, iova);
		for (end = first; end < map->count && map->range[end].iova <= last;)
			end++;
	}
	*count = end - first;
	if (*count == 0)
		return NULL;
	taken = malloc(*count * sizeof(*taken));
	if (taken != NULL)
		memcpy(taken, &map->range[first], *count * sizeof(*taken));
	memmove(&map->range[first], &map->range[end], (map->count - end) * sizeof(*taken));
	map->count -= *count;
	map->last = 0;
	return taken;
}

void gw_dma_remove(struct gw_dma_map *map, uint64_t iova, uint64_t bytes)
{
	struct gw_dma_range *taken;
	uint32_t count;

	pthread_mutex_lock(&map->lock);
	taken = take_out(map, iova, bytes, &count);
	pthread_mutex_unlock(&map->lock);
	if (count == 0)
		return;
	gw_dma_synchronize(map);
	/* Without memory for the list the files stay mapped: out of reach, and bounded. */
	for (uint32_t i = 0; taken != NULL && i < count; i++)
		put_file(taken[i].file);
	free(taken);
}

void gw_dma_set_own(struct gw_dma_map *map, uint8_t *at, uint64_t iova, uint64_t bytes)
{
	pthread_mutex_lock(&map->lock);
	map->own = (struct gw_dma_range){ .iova = iova,
					  .bytes = bytes,
					  .at = at,
					  .flags = GW_DMA_READ | GW_DMA_WRITE };
	pthread_mutex_unlock(&map->lock);
	gw_dma_synchronize(map);
}

bool gw_dma_is_own(struct gw_dma_map *map, uint64_t iova, uint64_t bytes)
{
	bool is_own;

	pthread_mutex_lock(&map->lock);
	is_own = iova - map->own.iova < map->own.bytes || map->own.iova - iova < bytes;
	is_own = is_own && map->own.bytes > 0;
	pthread_mutex_unlock(&map->lock);
	return is_own;
}

void gw_dma_synchronize(struct gw_dma_map *map)
{
	unsigned int old;

	pthread_mutex_lock(&map->lock);
	/* Two at once would wait for each other's epoch: the second one waits for the first. */
	while (map->users[map->epoch ^ 1] > 0)
		pthread_cond_wait(&map->idle, &map->lock);
	old = map->epoch;
	map->epoch ^= 1;
	while (map->users[old] > 0)
		pthread_cond_wait(&map->idle, &map->lock);
	pthread_mutex_unlock(&map->lock);
}

unsigned int gw_dma_enter(struct gw_dma_map *map)
{
	unsigned int epoch;

	pthread_mutex_lock(&map->lock);
	epoch = map->epoch;
	map->users[epoch]++;
	pthread_mutex_unlock(&map->lock);
	return epoch;
}

void gw_dma_leave(struct gw_dma_map *map, unsigned int epoch)
{
	pthread_mutex_lock(&map->lock);
	assert(map->users[epoch] > 0);
	if (--map->users[epoch] == 0)
		pthread_cond_broadcast(&map->idle);
	pthread_mutex_unlock(&map->lock);
}

/* NULL: none has it. map->lock is held. */
static const struct gw_dma_range *range_at(struct gw_dma_map *map, uint64_t iova)
{
	uint32_t i = map->last;

	if (iova - map->own.iova < map->own.bytes)
		return &map->own;
	if (i >= map->count || iova - map->range[i].iova >= map->range[i].bytes)
		i = find(map, iova);
	if (i >= map->count || iova < map->range[i].iova)
		return NULL;
	map->last = i;
	return &map->range[i];
}

void *gw_dma_at(struct gw_dma_map *map, uint64_t iova, uint32_t need, uint64_t *bytes)
{
	const struct gw_dma_range *range;
	void *at = NULL;

	pthread_mutex_lock(&map->lock);
	range = range_at(map, iova);
	if (range != NULL && range->at != NULL && (range->flags & need) == need) {
		const uint64_t skip = iova - range->iova;
		const uint64_t left = range->bytes - skip;

		at = range->at + skip;
		if (*bytes > left)
			*bytes = left;
	}
	pthread_mutex_unlock(&map->lock);
	return at;
}

static int copy(struct gw_dma_map *map, uint64_t iova, void *memory, size_t bytes, uint32_t need)
{
	uint8_t *ours = memory;

	while (bytes > 0) {
		uint64_t piece = bytes;
		void *at = gw_dma_at(map, iova, need, &piece);

		if (at == NULL)
			return -EFAULT;
		if (need == GW_DMA_WRITE)
			memcpy(at, ours, piece);
		else
			memcpy(ours, at, piece);
		ours += piece;
		bytes -= piece;
		if (bytes > 0 && iova > UINT64_MAX - piece)
			return -EFAULT;
		iova += piece;
	}
	return 0;
}

int gw_dma_read(struct gw_dma_map *map, uint64_t iova, void *to, size_t bytes)
{
	return copy(map, iova, to, bytes, GW_DMA_READ);
}

int gw_dma_write(struct gw_dma_map *map, uint64_t iova, const void *from, size_t bytes)
{
	return copy(map, iova, (void *)(uintptr_t)from, bytes, GW_DMA_WRITE);
}
