// SPDX-License-Identifier: GPL-2.0-only
/*
 * The persistent pool that swapped pages lie in, and their names there.
 *
 *   object  { nonce, slot / 256, 0 }    index  slot % 256	a page
 *   object  { nonce, all ones, 0 }      index  0		the mark
 *
 * The nonce is drawn with each new pool.  The mark is a page that holds a number, by
 * which the pool is known again: one for all its time, but a new one at each suspend.
 *
 * If the administrator destroys the pool, its id may soon be another's: dm-tmem makes
 * a new one, an ephemeral one, a second after it has seen that its own is gone.  So
 * whoever asks something of the pool that has not answered for half a second looks
 * for the mark first.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/spinlock.h>
#include "swap.h"
#include "tmem.h"

#define OBJECT_SHIFT 8

static struct {
	int id;			/* -1: there is none, and all is refused */
	u64 nonce;
	unsigned long known;	/* when it was known to be there, in jiffies */

	spinlock_t lock;	/* over the mark */
	u64 mark;
	bool is_marked;		/* a pool without room has no mark */
	struct page *page;	/* for the mark to come and go in */
} pool = {
	.id = -1,
	.lock = __SPIN_LOCK_UNLOCKED(pool.lock),
};

int swap_pool_id(void)
{
	return READ_ONCE(pool.id);
}

/* Leaves the pool alone, if there still is one: it may be another's by now. */
void swap_pool_forget(void)
{
	WRITE_ONCE(pool.id, -1);
}

/* The id may belong to another pool of this domain soon: it must not be used again. */
static void pool_is_gone(int id)
{
	if (cmpxchg(&pool.id, id, -1) == id)
		pr_err("pool %d is not there any more: its pages are lost\n", id);
}

static enum pool_answer answer_of(long rc)
{
	switch (rc) {
	case 1:
		return POOL_GOT;
	case 0:
	case -TMEM_EEMPTY:
	case -ENODEV:
		return POOL_HAS_NOT;
	default:
		return POOL_FAILED;
	}
}

static void pool_is_known(void)
{
	unsigned long now = jiffies;

	/* A line that all processors read: it is not written for nothing. */
	if (READ_ONCE(pool.known) != now)
		WRITE_ONCE(pool.known, now);
}

static long pool_call_name(int id, u32 cmd, u64 object, u32 index, struct page *page)
{
	struct tmem_handle handle = {
		.oid = { pool.nonce, object, 0 },
		.index = index,
	};

	return tmem_page_op(cmd, id, &handle, page);
}

static long mark_call(int id, u32 cmd)
{
	return pool_call_name(id, cmd, ~0ULL, 0, pool.page);
}

/* Lock held. */
static long put_mark(int id)
{
	long rc;

	pool.mark = get_random_u64();
	memcpy_to_page(pool.page, 0, (char *)&pool.mark, sizeof(pool.mark));
	rc = mark_call(id, TMEM_PUT_PAGE);
	pool.is_marked = rc == 1;
	return rc;
}

/* Lock held. */
static enum pool_answer get_mark(int id)
{
	enum pool_answer answer = answer_of(mark_call(id, TMEM_GET_PAGE));
	u64 mark;

	if (answer != POOL_GOT)
		return answer;
	memcpy_from_page((char *)&mark, pool.page, 0, sizeof(mark));
	return mark == pool.mark ? POOL_GOT : POOL_HAS_NOT;
}

/* Whether the id is still our pool's; a pool that had no room for a mark may have it now. */
static bool look_for_mark(int id)
{
	bool is_there;

	spin_lock(&pool.lock);
	if (pool.is_marked)
		is_there = get_mark(id) != POOL_HAS_NOT;
	else
		is_there = put_mark(id) != -ENODEV;
	spin_unlock(&pool.lock);
	if (is_there)
		pool_is_known();
	else
		pool_is_gone(id);
	return is_there;
}

static long pool_call(u32 cmd, u64 object, u32 index, struct page *page)
{
	/* Pairs with the release in swap_pool_make(). */
	int id = smp_load_acquire(&pool.id);
	long rc;

	if (id < 0)
		return -ENODEV;
	if (time_after(jiffies, READ_ONCE(pool.known) + HZ / 2) && !look_for_mark(id))
		return -ENODEV;
	rc = pool_call_name(id, cmd, object, index, page);
	if (rc == -ENODEV)
		pool_is_gone(id);
	else
		pool_is_known();
	return rc;
}

static long pool_call_slot(u32 cmd, u64 slot, struct page *page)
{
	return pool_call(cmd, slot >> OBJECT_SHIFT, slot & (BIT(OBJECT_SHIFT) - 1), page);
}

/* False: refused, and nothing is under that name any more. */
bool swap_pool_put(u64 slot, struct page *page)
{
	return pool_call_slot(TMEM_PUT_PAGE, slot, page) == 1;
}

enum pool_answer swap_pool_get(u64 slot, struct page *page)
{
	return answer_of(pool_call_slot(TMEM_GET_PAGE, slot, page));
}

void swap_pool_flush(u64 slot)
{
	pool_call_slot(TMEM_FLUSH_PAGE, slot, NULL);
}

/* Puts a new mark into the pool; false if it has no room for one. */
bool swap_pool_mark(void)
{
	bool done;

	if (pool.id < 0)
		return false;
	spin_lock(&pool.lock);
	done = put_mark(pool.id) == 1;
	spin_unlock(&pool.lock);
	return done;
}

/* Whether this is the pool that was marked last, as it was then. */
bool swap_pool_is_marked(void)
{
	bool is_marked;

	if (pool.id < 0)
		return false;
	spin_lock(&pool.lock);
	is_marked = get_mark(pool.id) == POOL_GOT;
	spin_unlock(&pool.lock);
	return is_marked;
}

/* @remade: tell the hypervisor, if it listens, that the pool is empty at each save. */
int swap_pool_make(bool remade)
{
	u32 flags = TMEM_POOL_PERSISTENT;
	long id;

	if (remade && tmem_features() & TMEM_FEATURE_POOLS_V2)
		flags |= TMEM_POOL_VERSION(2) | TMEM_POOL_REMADE;
	else
		flags |= TMEM_POOL_VERSION(1);
	id = tmem_new_pool(flags, NULL);
	if (id < 0)
		return id;
	pool.nonce = get_random_u64();
	WRITE_ONCE(pool.known, jiffies);
	/* Whoever sees the id sees the nonce. */
	smp_store_release(&pool.id, id);
	swap_pool_mark();
	return 0;
}

void swap_pool_destroy(void)
{
	int id = pool.id;

	/* Another's stays. */
	if (id < 0 || !look_for_mark(id))
		return;
	WRITE_ONCE(pool.id, -1);
	tmem_destroy_pool(id);
}

int swap_pool_init(void)
{
	pool.page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return pool.page ? 0 : -ENOMEM;
}

void swap_pool_exit(void)
{
	swap_pool_destroy();
	__free_page(pool.page);
}
