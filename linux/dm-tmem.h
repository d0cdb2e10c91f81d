/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dm-tmem: what its parts share.
 *
 *   main     the module: probes, both targets, suspend
 *   frames   a small record for each page frame of this machine
 *   index    which frame holds which block of a disk, and which transfers are under way
 *   pool     a disk's pages in tmem
 *   drop     pages that leave the page cache go to tmem
 *   disk     the target "tmem": a private disk; why no stale page comes back
 *   transfer its reads and writes
 *   image    the target "tmem-image": a read-only image that guests share
 *   device   the claim on the device below
 *   counters what is counted, in status and in sysfs
 */
#ifndef _LINUX_DM_TMEM_H
#define _LINUX_DM_TMEM_H

#include <linux/bio.h>
#include <linux/device-mapper.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include "compat.h"
#include "tmem.h"

/* A block is what a page holds.  A region is an object of tmem, and the most of a bio. */
#define TMEM_BLOCK_SHIFT	(PAGE_SHIFT - SECTOR_SHIFT)
#define TMEM_REGION_SHIFT	8
#define TMEM_REGION_BLOCKS	BIT(TMEM_REGION_SHIFT)
#define TMEM_REGION_SECTORS	(TMEM_REGION_BLOCKS << TMEM_BLOCK_SHIFT)

/* ---- counters ---- */

enum tmem_counter {
	TMEM_GETS,			/* pages asked for */
	TMEM_HITS,			/* and there */
	TMEM_ABSENT,			/* pages read that tmem was known not to have */
	TMEM_PUTS,			/* pages stored */
	TMEM_REFUSED,			/* pages that the hypervisor did not take */
	TMEM_FLUSHES,			/* pages taken out of tmem unread */
	TMEM_SPLITS,			/* reads cut in two */
	TMEM_UNALIGNED,			/* reads that are not of whole pages */
	TMEM_UNCACHED,			/* reads not into the page cache */
	TMEM_LAYERED,			/* transfers by a device above */
	TMEM_ENCRYPTED,			/* transfers of encrypted files */
	TMEM_FAILED,			/* transfers that ended in an error */
	TMEM_RECORDED_READ,		/* frames whose block is known */
	TMEM_RECORDED_WRITE,
	TMEM_OVERTAKEN,			/* not recorded: another write to the block */
	TMEM_CLAIMED_ELSEWHERE,		/* not recorded: the frame is in another transfer */
	TMEM_FRAMELESS,			/* not recorded: there is no table for the frame */
	TMEM_VOIDED,			/* records whose block was written to */
	TMEM_REPLACED,			/* records whose frame was read or written again */
	TMEM_LEFT_OVER,			/* records of frames that left unseen */
	TMEM_IN_USE,			/* dropped, not put: truncated */
	TMEM_UNCLEAN,			/* dropped, not put: dirty or poisoned */
	TMEM_CHANGED,			/* dropped, not put: not what the disk has */
	TMEM_OVER_CAP,			/* dropped, not put: the rest of a large folio */
	TMEM_COUNTERS
};

struct tmem_counts {
	u64 of[TMEM_COUNTERS];
};

/* A device's counters, and their folder in sysfs while it is not suspended. */
struct tmem_counter_set {
	struct tmem_counts __percpu *counts;
	struct kobject folder;
	struct completion released;
	bool shown;
};

/* Once, before the first set. */
void tmem_counters_setup(void);
int tmem_counters_init(struct tmem_counter_set *set);
void tmem_counters_free(struct tmem_counter_set *set);
u64 tmem_counter_read(const struct tmem_counter_set *set, enum tmem_counter which);
void tmem_counters_show(struct tmem_counter_set *set, struct dm_target *ti);
void tmem_counters_hide(struct tmem_counter_set *set);
/* For a target's status: the new length of @result. */
unsigned int tmem_counters_print(const struct tmem_counter_set *set, char *result,
				 unsigned int sz, unsigned int maxlen);

static inline void tmem_count(struct tmem_counter_set *set, enum tmem_counter which, u64 n)
{
	this_cpu_add(set->counts->of[which], n);
}

/* ---- the device below ---- */

/* Looks like what device-mapper's own claim gives, but excludes its other devices too. */
struct tmem_lower {
	struct dm_dev dev;
	struct tmem_bdev claim;
	struct gendisk *linked;
};

int tmem_lower_claim(struct tmem_lower *lower, struct dm_target *ti, const char *path);
void tmem_lower_release(struct tmem_lower *lower);
void tmem_lower_link(struct tmem_lower *lower, struct dm_target *ti);
void tmem_lower_unlink(struct tmem_lower *lower);

/* ---- frames ---- */

/*
 * What is known of a page frame.  Its key is
 *   0                          nothing,
 *   TMEM_KEY(disk, block)      it held this block; it is in the disk's index,
 *   tmem_claim_key(transfer)   it takes part in a transfer, which alone may change this.
 */
struct tmem_frame {
	u64 key;
	u64 hash;
	u32 next;			/* in the index: the next frame + 1 of the same slot */
};

#define TMEM_KEY_SHIFT		56
#define TMEM_KEY(disk, block)	((u64)((disk) + 1) << TMEM_KEY_SHIFT | (block))
#define TMEM_KEY_DISK(key)	((int)((key) >> TMEM_KEY_SHIFT) - 1)
#define TMEM_KEY_BLOCK(key)	((key) & (~0ull >> (64 - TMEM_KEY_SHIFT)))
#define TMEM_CLAIMED		0xffull

static inline u64 tmem_claim_key(const void *transfer)
{
	return TMEM_CLAIMED << TMEM_KEY_SHIFT | TMEM_KEY_BLOCK((unsigned long)transfer);
}

static inline bool tmem_key_is_claim(u64 key)
{
	return key >> TMEM_KEY_SHIFT == TMEM_CLAIMED;
}

int tmem_frames_init(void);
void tmem_frames_exit(void);
struct tmem_frame *tmem_frame(unsigned long pfn);
u64 tmem_hash_page(struct page *page);

/* ---- the index ---- */

#define TMEM_DISKS 16		/* as many as a domain has pools */

/* The blocks of some regions: they share a lock. */
struct tmem_bucket {
	spinlock_t lock;			/* for all of it, and what its frames record */
	struct list_head under_way;		/* transfers */
	u32 slot[TMEM_REGION_BLOCKS];		/* by block: the first frame + 1 */
};

struct tmem_disk {
	struct tmem_lower lower;
	struct block_device *own;	/* what a filesystem lies on */
	int id;				/* in keys */
	bool record_writes;
	bool warned;

	s32 pool;			/* < 0: none, and transfers just pass */
	u64 nonce;			/* begins the pool's names */
	struct delayed_work remake;
	unsigned long *present;		/* by block: may be in the pool */

	u64 blocks;
	u32 bucket_mask;
	struct tmem_bucket *bucket;
	atomic_t wide;			/* transfers under way of more than a region */
	struct tmem_counter_set counters;
};

/* In each bio. */
struct tmem_transfer {
	struct list_head link;		/* of its bucket's transfers */
	u64 first, last;		/* blocks, whole or in part */
	struct bvec_iter iter;		/* the pages whose frames are recorded */
	enum { TMEM_PASSES, TMEM_READS, TMEM_WRITES, TMEM_WRITES_WIDE } what;
	bool overtaken;			/* something else wrote there meanwhile */
};

int tmem_index_init(struct tmem_disk *disk);
void tmem_index_free(struct tmem_disk *disk);
/* The disk of an id, inside an RCU read-side section. */
struct tmem_disk *tmem_disk_of(int id);
void tmem_disks_each(void (*call)(struct tmem_disk *disk));

static inline struct tmem_bucket *tmem_bucket(struct tmem_disk *disk, u64 block)
{
	return &disk->bucket[(block >> TMEM_REGION_SHIFT) & disk->bucket_mask];
}

/* With the bucket's lock held. */
void tmem_index_insert(struct tmem_disk *disk, u64 block, unsigned long pfn,
		       struct tmem_frame *frame);
void tmem_index_remove(struct tmem_disk *disk, u64 block, unsigned long pfn);
/* Without. */
void tmem_index_forget_frame(unsigned long pfn, enum tmem_counter why);
void tmem_index_forget_all(struct tmem_disk *disk);
void tmem_transfer_begin(struct tmem_disk *disk, struct tmem_transfer *transfer);
void tmem_transfer_begin_wide(struct tmem_disk *disk, struct tmem_transfer *transfer);
void tmem_transfer_end(struct tmem_disk *disk, struct tmem_transfer *transfer);

/* ---- pools ---- */

int tmem_pools_init(void);
void tmem_pools_exit(void);
int tmem_pool_init(struct tmem_disk *disk);
void tmem_pool_free(struct tmem_disk *disk);
/* With the bucket's lock held. */
bool tmem_pool_put(struct tmem_disk *disk, u64 block, struct page *page);
bool tmem_pool_get(struct tmem_disk *disk, u64 block, struct page *page);
/* Without. */
void tmem_pool_flush(struct tmem_disk *disk, u64 first, u64 last);

/* ---- transfers, drops and targets ---- */

int tmem_disk_map(struct dm_target *ti, struct bio *bio);
int tmem_disk_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error);
/* Whether @page is one of the page cache whose content comes or goes with a transfer. */
bool tmem_is_cached(struct page *page, bool written);
bool tmem_is_whole_pages(struct bio *bio);

int tmem_drop_init(void);
void tmem_drop_exit(void);

extern struct target_type tmem_disk_target;
extern struct target_type tmem_image_target;

#endif
