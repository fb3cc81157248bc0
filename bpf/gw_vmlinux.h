/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel types that the programs read, and of these only the fields: CO-RE
 * finds where they are in the running kernel (the machine that builds needs no
 * BTF). Also the few constants of linux/bpf.h, so that no system header and no
 * architecture comes in.
 */
#ifndef GW_VMLINUX_H
#define GW_VMLINUX_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_F_MMAPABLE = 1 << 10,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct gendisk {
	int major;
	int first_minor;
	u64 diskseq;
};

struct block_device {
	struct gendisk *bd_disk;
};

struct list_head {
	struct list_head *next;
};

struct blk_mq_tags {
	unsigned int nr_tags;
	struct request **rqs;
};

struct blk_mq_tag_set {
	unsigned int nr_hw_queues;
	struct blk_mq_tags **tags;
};

struct request_queue {
	struct gendisk *disk;
	void *queuedata;
	struct blk_mq_tag_set *tag_set;
};

struct blk_mq_hw_ctx {
	unsigned int queue_num;
};

struct bvec_iter {
	u64 bi_sector;
	unsigned int bi_size;
	unsigned int bi_idx;
	unsigned int bi_bvec_done;
} __attribute__((packed));

/* What it is in newer kernels; libbpf ignores what follows three underscores. */
struct bvec_iter___renamed {
	unsigned int bi_offset;
} __attribute__((packed));

/* Its size is what counts. */
struct page {
	unsigned long flags;
};

struct bio_vec {
	struct page *bv_page;
	unsigned int bv_len;
	unsigned int bv_offset;
};

struct bio {
	struct bio *bi_next;
	struct block_device *bi_bdev;
	u32 bi_opf;
	unsigned short bi_ioprio;
	struct bvec_iter bi_iter;
	void (*bi_end_io)(struct bio *bio);
	struct bio_vec *bi_io_vec;
};

enum mq_rq_state {
	MQ_RQ_IDLE,
	MQ_RQ_IN_FLIGHT,
	MQ_RQ_COMPLETE,
};

struct request {
	struct request_queue *q;
	struct blk_mq_hw_ctx *mq_hctx;
	u32 cmd_flags;
	int tag;
	int internal_tag;
	unsigned int __data_len;
	u64 __sector;
	struct bio *bio;
	unsigned short ioprio;
	u64 start_time_ns;
	enum mq_rq_state state;
};

#pragma clang attribute pop

/* The numbers are not the kernel's: bpf_core_enum_value() gives those. */
enum req_op {
	REQ_OP_READ,
	REQ_OP_WRITE,
	REQ_OP_FLUSH,
	REQ_OP_DISCARD,
	REQ_OP_SECURE_ERASE,
	REQ_OP_ZONE_APPEND,
	REQ_OP_WRITE_ZEROES,
	REQ_OP_ZONE_OPEN,
	REQ_OP_ZONE_CLOSE,
	REQ_OP_ZONE_FINISH,
	REQ_OP_ZONE_RESET,
	REQ_OP_ZONE_RESET_ALL,
	REQ_OP_DRV_IN,
	REQ_OP_DRV_OUT,
};

#endif
