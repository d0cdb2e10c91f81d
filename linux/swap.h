/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A swap device in transcendent memory.
 *
 *   swap-disk.c     the block device, and the disk behind it
 *        |
 *   swap-suspend.c  what becomes of the pages while the domain is saved
 *        |
 *   swap-move.c     from the pool to the disk behind
 *        |
 *   swap-slots.c    where each page is
 *        |
 *   swap-pool.c     the pool, and the names of pages in it
 *
 * Each file calls those below it only.
 *
 * Why a reader of this device gets what was last written, or an error:
 *
 *  1. A slot (a page of the device) is empty, or its page is in the pool, or on the
 *     disk behind at the same place, or lost.  swap-slots.c has a byte for each slot
 *     that says which, and changes it only under the lock of that slot, together
 *     with the hypercall or ahead of the disk's transfer that makes it so.
 *  2. A put that the hypervisor refuses leaves nothing under its name, an older page
 *     neither: that is its interface.  Only then does the page go to the disk, and
 *     the slot says so before the disk gets it.  The other way round, nothing reads
 *     the disk's older page once the slot says "in the pool".
 *  3. Pages are named by a random number that is drawn with each new pool, so that
 *     another pool that got the old one's id has no page under our names.  What is
 *     not found there is lost: an error, not zeros.
 *  4. Across a save, the pool is either empty or holds a page with a number drawn
 *     for that very suspend.  A pool without it is not the one that was left, and
 *     all that was in that one is lost.
 *  5. While a page moves from the pool to the disk, the slot is busy.  A write to it
 *     makes the move void, and waits for the end of the move's transfer before it
 *     sends anything to the same place on the disk; freeing it makes the move void.
 *
 * A failed transfer to the disk leaves on that disk what it leaves on any: swap
 * keeps the page when it is told of the failure, and does not read it back.
 *
 * Nothing here allocates memory to write a page, and a page that was freed leaves
 * the pool within the call that freed it.
 */
#ifndef _XEN_TMEM_SWAP_H
#define _XEN_TMEM_SWAP_H

#include <linux/blk_types.h>
#include <linux/mm_types.h>
#include <linux/percpu.h>
#include <linux/types.h>

/* Counters, as sysfs shows them. */
enum swap_counter {
	SWAP_PUTS,
	SWAP_REFUSED,
	SWAP_GETS,
	SWAP_FREED,
	SWAP_LOST,
	SWAP_MOVED,
	SWAP_DISK_WRITES,
	SWAP_DISK_READS,
	SWAP_COUNTERS
};

struct swap_counts {
	u64 of[SWAP_COUNTERS];
};

extern struct swap_counts __percpu *swap_counts;

static inline void swap_count(enum swap_counter what, u64 pages)
{
	this_cpu_add(swap_counts->of[what], pages);
}

/* What a pool's answer to a get means. */
enum pool_answer { POOL_GOT, POOL_HAS_NOT, POOL_FAILED };

/* The pool */

int swap_pool_make(bool remade);
void swap_pool_destroy(void);
void swap_pool_forget(void);
int swap_pool_id(void);
bool swap_pool_put(u64 slot, struct page *page);
enum pool_answer swap_pool_get(u64 slot, struct page *page);
void swap_pool_flush(u64 slot);
bool swap_pool_mark(void);
bool swap_pool_is_marked(void);
int swap_pool_init(void);
void swap_pool_exit(void);

/* The slots */

enum slot_place { SLOT_EMPTY, SLOT_POOL, SLOT_DISK, SLOT_LOST };

int swap_slots_init(u64 slots);
void swap_slots_exit(void);
u64 swap_slots_total(void);
u64 swap_slots_held(void);
void swap_slots_close(bool closed);
u64 swap_slots_limit(void);
void swap_slots_set_limit(u64 limit);
void swap_slots_lose(void);
enum slot_place swap_slot_place(u64 slot);
bool swap_slot_put(u64 slot, struct page *page);
int swap_slot_get(u64 slot, struct page *page);
void swap_slot_to_disk(u64 slot);
void swap_slot_free(u64 slot);
bool swap_slot_move(u64 slot, struct page *page);
void swap_slots_moved(u64 first, unsigned int slots, bool succeeded);

/* The move to the disk behind */

int swap_move_init(struct block_device *disk);
void swap_move_exit(void);
int swap_move_all(void);
void swap_move_excess(void);
void swap_move_stop(void);

/* Saving the domain */

enum suspend_mode { SUSPEND_DRAIN, SUSPEND_KEEP, SUSPEND_REFUSE };

enum suspend_mode swap_suspend_mode(void);
int swap_suspend_init(struct block_device *disk);
void swap_suspend_exit(void);
struct device *swap_device(void);

#endif
