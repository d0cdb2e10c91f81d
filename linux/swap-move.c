// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves pages from the pool to the disk behind, each to its slot's place there.
 *
 * All that this takes is set aside beforehand: it runs when memory is short, and
 * while the domain is about to stop.  Runs of neighbouring slots go in one transfer.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>
#include "swap.h"

#define RUN 64

static struct {
	struct mutex lock;	/* one move at a time */
	struct block_device *disk;
	struct bio bio;
	struct bio_vec vecs[RUN];
	struct page *pages[RUN];
} mover;

static int write_run(u64 first, unsigned int count)
{
	unsigned int i;
	int err;

	bio_init(&mover.bio, mover.disk, mover.vecs, RUN, REQ_OP_WRITE | REQ_SYNC);
	mover.bio.bi_iter.bi_sector = first << (PAGE_SHIFT - SECTOR_SHIFT);
	for (i = 0; i < count; i++)
		__bio_add_page(&mover.bio, mover.pages[i], PAGE_SIZE, 0);
	err = submit_bio_wait(&mover.bio);
	bio_uninit(&mover.bio);
	return err;
}

/*
 * Moves pages until no more than @most are in the pool; stops at the disk's first
 * error, which loses none.
 */
static int move_down_to(u64 most)
{
	u64 slot = 0, total = swap_slots_total();
	unsigned int count, noio;
	int err = 0;

	mutex_lock(&mover.lock);
	/* Memory reclaimed from here could come back as a write that waits for us. */
	noio = memalloc_noio_save();
	while (slot < total && !err && swap_slots_held() > most) {
		count = 0;
		while (count < RUN && slot + count < total &&
		       swap_slot_move(slot + count, mover.pages[count]))
			count++;
		if (count) {
			err = write_run(slot, count);
			swap_slots_moved(slot, count, !err);
			slot += count;
		} else {
			slot++;
		}
		cond_resched();
	}
	memalloc_noio_restore(noio);
	mutex_unlock(&mover.lock);
	return err;
}

int swap_move_all(void)
{
	return move_down_to(0);
}

static void move_down_to_limit(struct work_struct *work)
{
	int err = move_down_to(swap_slots_limit());

	if (err)
		pr_err_ratelimited("can't write to the backing disk (%d): %llu pages stay in the pool\n",
				   err, swap_slots_held());
}

static DECLARE_WORK(down_to_limit, move_down_to_limit);

/* Moves what is above the limit, by and by. */
void swap_move_excess(void)
{
	/* Frozen with processes: then all goes, or stays, as the suspend wants it. */
	queue_work(system_freezable_wq, &down_to_limit);
}

/* Before the disk behind goes away. */
void swap_move_stop(void)
{
	cancel_work_sync(&down_to_limit);
}

int swap_move_init(struct block_device *disk)
{
	int i;

	mutex_init(&mover.lock);
	mover.disk = disk;
	for (i = 0; i < RUN; i++) {
		mover.pages[i] = alloc_page(GFP_KERNEL);
		if (!mover.pages[i]) {
			swap_move_exit();
			return -ENOMEM;
		}
	}
	return 0;
}

void swap_move_exit(void)
{
	int i;

	for (i = 0; i < RUN && mover.pages[i]; i++) {
		__free_page(mover.pages[i]);
		mover.pages[i] = NULL;
	}
}
