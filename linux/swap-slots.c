// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the page of each slot is.
 *
 *   state   | slot 0 | slot 1 | slot 2 | ...	one byte a slot
 *              |
 *              +-- bits 0-1  enum slot_place
 *                  bit 2     MOVING  a copy is on its way to the disk, and is good
 *                  bit 3     BUSY    a copy is on its way to the disk, good or not
 *
 *   locks   one for all slots of a group of 64, the groups dealt out to 64 locks
 *
 * A slot's state changes under its lock.  Lock order: swap's own locks (a freed slot
 * is told of under them), then one of these, then that of the pool's mark.
 */
#include <linux/cache.h>
#include <linux/highmem.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include "swap.h"

#define PLACE_MASK	0x3
#define MOVING		BIT(2)
#define BUSY		BIT(3)

#define GROUP_SHIFT	6
#define LOCKS		64

struct slot_lock {
	spinlock_t lock;	/* over the state of its groups' slots */
} ____cacheline_aligned_in_smp;

static struct {
	u64 total;
	u8 *state;
	bool closed;			/* to new pages */
	u64 limit;			/* the most slots whose page may be in the pool */
	atomic64_t held;		/* slots whose page is in the pool */
	wait_queue_head_t idle;		/* for slots that are busy */
	struct slot_lock locks[LOCKS];
} slots;

struct swap_counts __percpu *swap_counts;

static spinlock_t *lock_of(u64 slot)
{
	return &slots.locks[(slot >> GROUP_SHIFT) % LOCKS].lock;
}

static enum slot_place place(u64 slot)
{
	return slots.state[slot] & PLACE_MASK;
}

/* Lock held.  A move under way is void from here on. */
static void set_place(u64 slot, enum slot_place to)
{
	bool was_held = place(slot) == SLOT_POOL, is_held = to == SLOT_POOL;

	if (is_held != was_held)
		atomic64_add(is_held ? 1 : -1, &slots.held);
	WRITE_ONCE(slots.state[slot], to | (slots.state[slot] & BUSY));
}

/* Lock held.  Nothing is under the slot's name in the pool after this. */
static void leave_pool(u64 slot, enum slot_place to)
{
	if (place(slot) == SLOT_POOL)
		swap_pool_flush(slot);
	set_place(slot, to);
}

u64 swap_slots_total(void)
{
	return slots.total;
}

/* How many pages are in the pool. */
u64 swap_slots_held(void)
{
	return atomic64_read(&slots.held);
}

/*
 * Whether new pages are kept out of the pool.  A put that began before has ended for
 * whoever takes a slot's lock after this.
 */
void swap_slots_close(bool closed)
{
	WRITE_ONCE(slots.closed, closed);
}

u64 swap_slots_limit(void)
{
	return READ_ONCE(slots.limit);
}

/* For new pages: those that are in the pool stay there. */
void swap_slots_set_limit(u64 limit)
{
	WRITE_ONCE(slots.limit, limit);
}

/* Lock held.  Each processor may see room for one page more at the same time. */
static bool has_room_for(u64 slot)
{
	u64 others = swap_slots_held() - (place(slot) == SLOT_POOL);

	return !READ_ONCE(slots.closed) && others < swap_slots_limit();
}

/* All pages in the pool are lost; those that are there after all leave it. */
void swap_slots_lose(void)
{
	u64 slot, lost = 0;

	for (slot = 0; slot < slots.total; slot++) {
		spin_lock(lock_of(slot));
		if (place(slot) == SLOT_POOL) {
			leave_pool(slot, SLOT_LOST);
			lost++;
		}
		spin_unlock(lock_of(slot));
	}
	swap_count(SWAP_LOST, lost);
}

/* Without the lock: true when looked at, for a slot that nobody writes meanwhile. */
enum slot_place swap_slot_place(u64 slot)
{
	return READ_ONCE(slots.state[slot]) & PLACE_MASK;
}

/* False: the page has to go elsewhere, and the slot's older one is gone. */
bool swap_slot_put(u64 slot, struct page *page)
{
	bool taken;

	spin_lock(lock_of(slot));
	if (has_room_for(slot)) {
		taken = swap_pool_put(slot, page);
		set_place(slot, taken ? SLOT_POOL : SLOT_LOST);
	} else {
		leave_pool(slot, SLOT_LOST);
		taken = false;
	}
	spin_unlock(lock_of(slot));
	if (taken)
		swap_count(SWAP_PUTS, 1);
	return taken;
}

/* Lock held. */
static int get_from_pool(u64 slot, struct page *page)
{
	switch (swap_pool_get(slot, page)) {
	case POOL_GOT:
		swap_count(SWAP_GETS, 1);
		return 0;
	case POOL_HAS_NOT:
		set_place(slot, SLOT_LOST);
		swap_count(SWAP_LOST, 1);
		return -EIO;
	default:
		return -EIO;
	}
}

/* -EREMOTE: the page is on the disk.  -EIO: it is lost. */
int swap_slot_get(u64 slot, struct page *page)
{
	int err;

	spin_lock(lock_of(slot));
	switch (place(slot)) {
	case SLOT_EMPTY:
		clear_highpage(page);
		err = 0;
		break;
	case SLOT_POOL:
		err = get_from_pool(slot, page);
		break;
	case SLOT_DISK:
		err = -EREMOTE;
		break;
	default:
		err = -EIO;
	}
	spin_unlock(lock_of(slot));
	return err;
}

/* The slot's page is on the disk, or about to be sent there.  Waits for a move to end. */
void swap_slot_to_disk(u64 slot)
{
	spin_lock(lock_of(slot));
	leave_pool(slot, SLOT_DISK);
	while (slots.state[slot] & BUSY) {
		spin_unlock(lock_of(slot));
		wait_event(slots.idle, !(READ_ONCE(slots.state[slot]) & BUSY));
		spin_lock(lock_of(slot));
	}
	spin_unlock(lock_of(slot));
}

void swap_slot_free(u64 slot)
{
	spin_lock(lock_of(slot));
	leave_pool(slot, SLOT_EMPTY);
	spin_unlock(lock_of(slot));
	swap_count(SWAP_FREED, 1);
}

/*
 * Begins to move a slot's page to the disk: a copy of it into @page.  False if there
 * is nothing to move.
 */
bool swap_slot_move(u64 slot, struct page *page)
{
	bool moves;

	spin_lock(lock_of(slot));
	moves = place(slot) == SLOT_POOL && !get_from_pool(slot, page);
	if (moves)
		WRITE_ONCE(slots.state[slot], SLOT_POOL | MOVING | BUSY);
	spin_unlock(lock_of(slot));
	return moves;
}

/* Ends the moves of some slots. */
void swap_slots_moved(u64 first, unsigned int count, bool succeeded)
{
	u64 slot;

	for (slot = first; slot < first + count; slot++) {
		spin_lock(lock_of(slot));
		if (succeeded && slots.state[slot] & MOVING) {
			leave_pool(slot, SLOT_DISK);
			swap_count(SWAP_MOVED, 1);
		}
		WRITE_ONCE(slots.state[slot], place(slot));
		spin_unlock(lock_of(slot));
	}
	wake_up_all(&slots.idle);
}

int swap_slots_init(u64 total)
{
	int i;

	slots.total = total;
	slots.limit = U64_MAX;
	for (i = 0; i < LOCKS; i++)
		spin_lock_init(&slots.locks[i].lock);
	init_waitqueue_head(&slots.idle);
	slots.state = vzalloc(total);
	swap_counts = alloc_percpu(struct swap_counts);
	if (slots.state && swap_counts)
		return 0;
	swap_slots_exit();
	return -ENOMEM;
}

void swap_slots_exit(void)
{
	free_percpu(swap_counts);
	vfree(slots.state);
}
