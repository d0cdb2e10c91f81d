// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: which frame holds which block of a disk, and which transfers are under way.
 *
 *   bucket       lock, transfers under way
 *   (regions)    slot   0     1     2    ...  255     the block's place in its region
 *                       |           |
 *                       v           v
 *                     frame       frame               by number, in tmem_frame()'s tables
 *                       |next
 *                       v
 *                     frame                           another region, or a second copy
 *
 * A bucket's lock is innermost, is taken with interrupts off, and only one is held at
 * a time.  It is also held for each call to tmem about one of its blocks.
 */
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include "dm-tmem.h"

static struct tmem_disk __rcu *disks[TMEM_DISKS];
static DEFINE_MUTEX(disks_lock);

struct tmem_disk *tmem_disk_of(int id)
{
	return rcu_dereference(disks[id]);
}

void tmem_disks_each(void (*call)(struct tmem_disk *disk))
{
	int id;

	mutex_lock(&disks_lock);
	for (id = 0; id < TMEM_DISKS; id++) {
		struct tmem_disk *disk = rcu_dereference_protected(disks[id], true);

		if (disk)
			call(disk);
	}
	mutex_unlock(&disks_lock);
}

void tmem_index_insert(struct tmem_disk *disk, u64 block, unsigned long pfn,
		       struct tmem_frame *frame)
{
	u32 *slot = &tmem_bucket(disk, block)->slot[block % TMEM_REGION_BLOCKS];

	frame->next = *slot;
	*slot = pfn + 1;
	WRITE_ONCE(frame->key, TMEM_KEY(disk->id, block));
}

void tmem_index_remove(struct tmem_disk *disk, u64 block, unsigned long pfn)
{
	u32 *at = &tmem_bucket(disk, block)->slot[block % TMEM_REGION_BLOCKS];
	struct tmem_frame *frame = tmem_frame(pfn);

	while (*at && *at != pfn + 1)
		at = &tmem_frame(*at - 1)->next;
	if (WARN_ON_ONCE(!*at))
		return;
	*at = frame->next;
	WRITE_ONCE(frame->key, 0);
}

/* Whatever is recorded of a frame, for any disk. */
void tmem_index_forget_frame(unsigned long pfn, enum tmem_counter why)
{
	struct tmem_frame *frame = tmem_frame(pfn);
	u64 key = frame ? READ_ONCE(frame->key) : 0;
	struct tmem_bucket *bucket;
	struct tmem_disk *disk;
	unsigned long flags;

	if (!key || tmem_key_is_claim(key))
		return;
	rcu_read_lock();
	disk = tmem_disk_of(TMEM_KEY_DISK(key));
	if (disk) {
		bucket = tmem_bucket(disk, TMEM_KEY_BLOCK(key));
		spin_lock_irqsave(&bucket->lock, flags);
		if (frame->key == key) {
			tmem_index_remove(disk, TMEM_KEY_BLOCK(key), pfn);
			tmem_count(&disk->counters, why, 1);
		}
		spin_unlock_irqrestore(&bucket->lock, flags);
	}
	rcu_read_unlock();
}

/* Frames that hold one of these blocks, as far as they are the bucket's; with its lock held. */
static void forget_blocks(struct tmem_disk *disk, struct tmem_bucket *bucket, u64 first, u64 last)
{
	unsigned int slots = min_t(u64, last - first, TMEM_REGION_BLOCKS - 1) + 1;
	struct tmem_frame *frame;
	unsigned int i;
	u64 block;
	u32 *at;

	for (i = 0; i < slots; i++) {
		at = &bucket->slot[(first + i) % TMEM_REGION_BLOCKS];
		while (*at) {
			frame = tmem_frame(*at - 1);
			block = TMEM_KEY_BLOCK(frame->key);
			if (block < first || block > last) {
				at = &frame->next;
				continue;
			}
			*at = frame->next;
			WRITE_ONCE(frame->key, 0);
			tmem_count(&disk->counters, TMEM_VOIDED, 1);
		}
	}
}

/* Everything that is recorded for the disk. */
void tmem_index_forget_all(struct tmem_disk *disk)
{
	unsigned long flags;
	u32 i;

	for (i = 0; i <= disk->bucket_mask; i++) {
		struct tmem_bucket *bucket = &disk->bucket[i];

		spin_lock_irqsave(&bucket->lock, flags);
		forget_blocks(disk, bucket, 0, U64_MAX);
		spin_unlock_irqrestore(&bucket->lock, flags);
		cond_resched();
	}
}

static bool overlap(const struct tmem_transfer *a, const struct tmem_transfer *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/*
 * A read or write of one region begins.  Of two transfers of a block that overlap in
 * time, one of them a write, neither says what the disk has in the end.
 */
void tmem_transfer_begin(struct tmem_disk *disk, struct tmem_transfer *transfer)
{
	struct tmem_bucket *bucket = tmem_bucket(disk, transfer->first);
	bool writes = transfer->what == TMEM_WRITES;
	struct tmem_transfer *other;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	transfer->overtaken = atomic_read(&disk->wide);
	list_for_each_entry(other, &bucket->under_way, link) {
		if (!overlap(other, transfer))
			continue;
		if (other->what == TMEM_WRITES)
			transfer->overtaken = true;
		if (writes)
			other->overtaken = true;
	}
	list_add(&transfer->link, &bucket->under_way);
	if (writes)
		forget_blocks(disk, bucket, transfer->first, transfer->last);
	spin_unlock_irqrestore(&bucket->lock, flags);
}

/* A discard or the like of any length.  Until it ends nothing at all is recorded. */
void tmem_transfer_begin_wide(struct tmem_disk *disk, struct tmem_transfer *transfer)
{
	u64 region = transfer->first >> TMEM_REGION_SHIFT;
	u64 last = min(transfer->last >> TMEM_REGION_SHIFT, region + disk->bucket_mask);
	struct tmem_transfer *other;
	unsigned long flags;

	atomic_inc(&disk->wide);
	for (; region <= last; region++) {
		struct tmem_bucket *bucket = tmem_bucket(disk, region << TMEM_REGION_SHIFT);

		spin_lock_irqsave(&bucket->lock, flags);
		list_for_each_entry(other, &bucket->under_way, link)
			if (overlap(other, transfer))
				other->overtaken = true;
		forget_blocks(disk, bucket, transfer->first, transfer->last);
		spin_unlock_irqrestore(&bucket->lock, flags);
	}
}

void tmem_transfer_end(struct tmem_disk *disk, struct tmem_transfer *transfer)
{
	struct tmem_bucket *bucket = tmem_bucket(disk, transfer->first);
	unsigned long flags;

	if (transfer->what == TMEM_WRITES_WIDE) {
		atomic_dec(&disk->wide);
	} else {
		spin_lock_irqsave(&bucket->lock, flags);
		list_del(&transfer->link);
		spin_unlock_irqrestore(&bucket->lock, flags);
	}
	transfer->what = TMEM_PASSES;
}

/* About a slot for each frame, but no more than there are blocks. */
int tmem_index_init(struct tmem_disk *disk)
{
	u64 regions = DIV_ROUND_UP_ULL(disk->blocks, TMEM_REGION_BLOCKS);
	u64 wanted = min_t(u64, regions, totalram_pages() / TMEM_REGION_BLOCKS);
	u32 i;

	disk->bucket_mask = roundup_pow_of_two(clamp_t(u64, wanted, 1, SZ_1M)) - 1;
	disk->bucket = kvcalloc(disk->bucket_mask + 1, sizeof(*disk->bucket), GFP_KERNEL);
	if (!disk->bucket)
		return -ENOMEM;
	for (i = 0; i <= disk->bucket_mask; i++) {
		spin_lock_init(&disk->bucket[i].lock);
		INIT_LIST_HEAD(&disk->bucket[i].under_way);
	}

	mutex_lock(&disks_lock);
	for (disk->id = 0; disk->id < TMEM_DISKS; disk->id++)
		if (!rcu_access_pointer(disks[disk->id])) {
			rcu_assign_pointer(disks[disk->id], disk);
			break;
		}
	mutex_unlock(&disks_lock);
	if (disk->id == TMEM_DISKS) {
		kvfree(disk->bucket);
		return -ENOSPC;
	}
	return 0;
}

/* After its last transfer. */
void tmem_index_free(struct tmem_disk *disk)
{
	tmem_index_forget_all(disk);
	mutex_lock(&disks_lock);
	RCU_INIT_POINTER(disks[disk->id], NULL);
	mutex_unlock(&disks_lock);
	synchronize_rcu();
	kvfree(disk->bucket);
}
