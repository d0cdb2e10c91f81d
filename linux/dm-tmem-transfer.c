// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: reads and writes of a private disk.
 *
 * A read takes pages from tmem, or passes; at its end, the frames are recorded.  A write
 * voids what is known of its blocks, passes, and at its end its frames are recorded.
 * dm-tmem-disk.c says why that is right.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/blk-crypto.h>
#include <linux/kernfs.h>
#include "dm-tmem.h"

bool tmem_is_whole_pages(struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	if (bio->bi_iter.bi_sector % (1 << TMEM_BLOCK_SHIFT) || bio->bi_iter.bi_size % PAGE_SIZE)
		return false;
	bio_for_each_segment(bv, bio, iter)
		if (bv.bv_offset || bv.bv_len != PAGE_SIZE)
			return false;
	return true;
}

/*
 * A page that is being read into the page cache is not up to date yet, and one that is
 * being written from there is under writeback.  Pages that a process has given for
 * direct I/O are neither.
 */
bool tmem_is_cached(struct page *page, bool written)
{
	struct folio *folio = page_folio(page);

	if (!folio_mapping(folio) || folio_test_swapcache(folio))
		return false;
	return written ? folio_test_writeback(folio) : !folio_test_uptodate(folio);
}

/* Whether a device of device-mapper, md or bcache lies on the disk, as sysfs shows it. */
static bool is_under_device(struct tmem_disk *disk)
{
	struct kobject *holders = disk->own->bd_holder_dir;

	return holders && holders->sd && !RB_EMPTY_ROOT(&holders->sd->dir.children);
}

/*
 * Whether the filesystem that the page is of lies on the disk itself, as far as that can
 * be told: btrfs does not say.
 */
static bool is_of_own_filesystem(struct tmem_disk *disk, struct inode *inode)
{
	struct block_device *bdev = inode->i_sb->s_bdev;

	if (S_ISBLK(inode->i_mode))
		return inode->i_rdev == disk->own->bd_dev;
	return !bdev || bdev == disk->own;
}

/*
 * Whether what the bio transfers can be kept: pages of the page cache, and the same there
 * as on the disk.  A device above, or the filesystem, may encrypt.
 */
static bool is_eligible(struct tmem_disk *disk, struct bio *bio, struct page *page, bool written)
{
	struct inode *inode;

	if (!tmem_is_cached(page, written)) {
		if (!written)
			tmem_count(&disk->counters, TMEM_UNCACHED, 1);
		return false;
	}
	inode = folio_mapping(page_folio(page))->host;
	if (IS_ENCRYPTED(inode) || bio_has_crypt_ctx(bio)) {
		tmem_count(&disk->counters, TMEM_ENCRYPTED, 1);
		return false;
	}
	if (is_under_device(disk) || !is_of_own_filesystem(disk, inode)) {
		tmem_count(&disk->counters, TMEM_LAYERED, 1);
		if (!xchg(&disk->warned, true))
			pr_warn("%s: not cached: another device lies on it; put tmem on top\n",
				disk->lower.dev.name);
		return false;
	}
	return true;
}

/* A frame's record, claimed for a transfer; NULL if it can't be. */
static struct tmem_frame *claim(struct tmem_disk *disk, struct tmem_transfer *transfer,
				unsigned long pfn)
{
	struct tmem_frame *frame = tmem_frame(pfn);

	if (!frame) {
		tmem_count(&disk->counters, TMEM_FRAMELESS, 1);
		return NULL;
	}
	tmem_index_forget_frame(pfn, TMEM_REPLACED);
	if (cmpxchg(&frame->key, 0, tmem_claim_key(transfer))) {
		tmem_count(&disk->counters, TMEM_CLAIMED_ELSEWHERE, 1);
		return NULL;
	}
	return frame;
}

/* A claimed frame's record is made known, unless the transfer does not say what the disk has. */
static void record(struct tmem_disk *disk, struct tmem_transfer *transfer, u64 block,
		   unsigned long pfn, struct tmem_frame *frame, bool good)
{
	struct tmem_bucket *bucket = tmem_bucket(disk, block);
	enum tmem_counter outcome;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	if (!good || transfer->overtaken) {
		WRITE_ONCE(frame->key, 0);
		outcome = good ? TMEM_OVERTAKEN : TMEM_FAILED;
	} else {
		tmem_index_insert(disk, block, pfn, frame);
		outcome = transfer->what == TMEM_READS ? TMEM_RECORDED_READ : TMEM_RECORDED_WRITE;
	}
	tmem_count(&disk->counters, outcome, 1);
	spin_unlock_irqrestore(&bucket->lock, flags);
}

static void end_read(struct tmem_disk *disk, struct bio *bio, struct tmem_transfer *transfer,
		     bool good)
{
	struct tmem_frame *frame;
	struct bvec_iter iter;
	unsigned long pfn;
	struct bio_vec bv;

	if (good)
		__bio_for_each_segment(bv, bio, iter, transfer->iter) {
			pfn = page_to_pfn(bv.bv_page);
			frame = claim(disk, transfer, pfn);
			if (!frame)
				continue;
			frame->hash = tmem_hash_page(bv.bv_page);
			record(disk, transfer, iter.bi_sector >> TMEM_BLOCK_SHIFT, pfn, frame,
			       true);
		}
	else
		tmem_count(&disk->counters, TMEM_FAILED, 1);
	tmem_transfer_end(disk, transfer);
}

static void end_write(struct tmem_disk *disk, struct bio *bio, struct tmem_transfer *transfer,
		      bool good)
{
	struct tmem_frame *frame;
	struct bvec_iter iter;
	unsigned long pfn;
	struct bio_vec bv;

	if (transfer->iter.bi_size)
		__bio_for_each_segment(bv, bio, iter, transfer->iter) {
			pfn = page_to_pfn(bv.bv_page);
			frame = tmem_frame(pfn);
			if (frame && READ_ONCE(frame->key) == tmem_claim_key(transfer))
				record(disk, transfer, iter.bi_sector >> TMEM_BLOCK_SHIFT, pfn,
				       frame, good);
		}
	tmem_transfer_end(disk, transfer);
}

/* Takes pages from tmem up to the first that is not there; their number. */
static unsigned int take(struct tmem_disk *disk, struct bio *bio)
{
	struct tmem_bucket *bucket = tmem_bucket(disk, bio->bi_iter.bi_sector >> TMEM_BLOCK_SHIFT);
	unsigned int hits = 0;
	struct bvec_iter iter;
	unsigned long flags;
	struct bio_vec bv;
	bool hit;

	bio_for_each_segment(bv, bio, iter) {
		spin_lock_irqsave(&bucket->lock, flags);
		hit = tmem_pool_get(disk, iter.bi_sector >> TMEM_BLOCK_SHIFT, bv.bv_page);
		spin_unlock_irqrestore(&bucket->lock, flags);
		if (!hit)
			break;
		hits++;
	}
	tmem_count(&disk->counters, TMEM_HITS, hits);
	return hits;
}

static int map_read(struct tmem_disk *disk, struct bio *bio, struct tmem_transfer *transfer)
{
	u64 first = bio->bi_iter.bi_sector >> TMEM_BLOCK_SHIFT;
	u64 end = bio_end_sector(bio) >> TMEM_BLOCK_SHIFT, run;
	unsigned int hits = 0;
	struct bvec_iter iter;
	struct bio_vec bv;
	bool present;

	if (!tmem_is_whole_pages(bio) || end > disk->blocks) {
		tmem_count(&disk->counters, TMEM_UNALIGNED, 1);
		return DM_MAPIO_REMAPPED;
	}
	bio_for_each_segment(bv, bio, iter)
		if (!is_eligible(disk, bio, bv.bv_page, false))
			return DM_MAPIO_REMAPPED;

	/* Only as far as tmem may have all, or has none. */
	present = test_bit(first, disk->present);
	run = present ? find_next_zero_bit(disk->present, end, first) :
			find_next_bit(disk->present, end, first);
	/* A bit may have changed just now. */
	run = max(run, first + 1);
	if (run < end) {
		dm_accept_partial_bio(bio, (run - first) << TMEM_BLOCK_SHIFT);
		tmem_count(&disk->counters, TMEM_SPLITS, 1);
		end = run;
	}

	transfer->what = TMEM_READS;
	transfer->first = first;
	transfer->last = end - 1;
	transfer->iter = bio->bi_iter;
	tmem_transfer_begin(disk, transfer);
	if (present)
		hits = take(disk, bio);
	else
		tmem_count(&disk->counters, TMEM_ABSENT, end - first);
	if (hits < end - first) {
		if (hits)
			bio_advance(bio, hits << PAGE_SHIFT);
		return DM_MAPIO_REMAPPED;
	}
	end_read(disk, bio, transfer, true);
	bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

static int map_write(struct tmem_disk *disk, struct bio *bio, struct tmem_transfer *transfer)
{
	struct tmem_frame *frame;
	struct bvec_iter iter;
	struct bio_vec bv;

	transfer->first = bio->bi_iter.bi_sector >> TMEM_BLOCK_SHIFT;
	transfer->last = (bio_end_sector(bio) - 1) >> TMEM_BLOCK_SHIFT;
	if (bio_op(bio) == REQ_OP_WRITE) {
		transfer->what = TMEM_WRITES;
		transfer->iter.bi_size = 0;
		tmem_transfer_begin(disk, transfer);
	} else {
		transfer->what = TMEM_WRITES_WIDE;
		tmem_transfer_begin_wide(disk, transfer);
	}
	tmem_pool_flush(disk, transfer->first, transfer->last);

	if (transfer->what != TMEM_WRITES || !disk->record_writes ||
	    !tmem_is_whole_pages(bio) || transfer->last >= disk->blocks)
		return DM_MAPIO_REMAPPED;
	transfer->iter = bio->bi_iter;
	bio_for_each_segment(bv, bio, iter) {
		if (!is_eligible(disk, bio, bv.bv_page, true))
			continue;
		frame = claim(disk, transfer, page_to_pfn(bv.bv_page));
		if (frame)
			frame->hash = tmem_hash_page(bv.bv_page);
	}
	return DM_MAPIO_REMAPPED;
}

int tmem_disk_map(struct dm_target *ti, struct bio *bio)
{
	struct tmem_transfer *transfer = dm_per_bio_data(bio, sizeof(*transfer));
	struct tmem_disk *disk = ti->private;

	transfer->what = TMEM_PASSES;
	bio_set_dev(bio, disk->lower.dev.bdev);
	bio->bi_iter.bi_sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	if (!bio_sectors(bio))
		return DM_MAPIO_REMAPPED;
	if (op_is_write(bio_op(bio)))
		return map_write(disk, bio, transfer);
	return bio_op(bio) == REQ_OP_READ ? map_read(disk, bio, transfer) : DM_MAPIO_REMAPPED;
}

int tmem_disk_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct tmem_transfer *transfer = dm_per_bio_data(bio, sizeof(*transfer));
	struct tmem_disk *disk = ti->private;

	switch (transfer->what) {
	case TMEM_READS:
		end_read(disk, bio, transfer, !*error);
		break;
	case TMEM_WRITES:
		end_write(disk, bio, transfer, !*error);
		break;
	case TMEM_WRITES_WIDE:
		tmem_transfer_end(disk, transfer);
		break;
	case TMEM_PASSES:
		break;
	}
	return DM_ENDIO_DONE;
}
