// SPDX-License-Identifier: GPL-2.0-only
/*
 * The persistent pool that swapped pages lie in, and their names there.
 *
 *   object  { nonce, slot / 256, 0 }    index  slot % 256	a page
 *   object  { nonce, all ones, 0 }      index  0		the mark
 *
 * The nonce is drawn with each new pool.  The mark is a page that holds a number
 * drawn for one suspend, by which the pool is known again.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/random.h>
#include "swap.h"
#include "tmem.h"

#define OBJECT_SHIFT 8

static struct {
	int id;			/* -1: there is none, and all is refused */
	u64 nonce;
	u64 mark;
	struct page *page;	/* for the mark to come and go in */
} pool = { .id = -1 };

int swap_pool_id(void)
{
	return READ_ONCE(pool.id);
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
	/* Whoever sees the id sees the nonce. */
	smp_store_release(&pool.id, id);
	return 0;
}

void swap_pool_destroy(void)
{
	int id = pool.id;

	WRITE_ONCE(pool.id, -1);
	if (id >= 0)
		tmem_destroy_pool(id);
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

static long pool_call(u32 cmd, u64 object, u32 index, struct page *page)
{
	/* Pairs with the release in swap_pool_make(). */
	int id = smp_load_acquire(&pool.id);
	struct tmem_handle handle = {
		.oid = { pool.nonce, object, 0 },
		.index = index,
	};
	long rc;

	if (id < 0)
		return -ENODEV;
	rc = tmem_page_op(cmd, id, &handle, page);
	if (rc == -ENODEV)
		pool_is_gone(id);
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
	switch (pool_call_slot(TMEM_GET_PAGE, slot, page)) {
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

void swap_pool_flush(u64 slot)
{
	pool_call_slot(TMEM_FLUSH_PAGE, slot, NULL);
}

/* Puts a new mark into the pool; false if it has no room for one. */
bool swap_pool_mark(void)
{
	pool.mark = get_random_u64();
	memcpy_to_page(pool.page, 0, (char *)&pool.mark, sizeof(pool.mark));
	return pool_call(TMEM_PUT_PAGE, ~0ULL, 0, pool.page) == 1;
}

/* Whether this is the pool that was marked last, as it was then. */
bool swap_pool_is_marked(void)
{
	u64 mark;

	if (pool_call(TMEM_GET_PAGE, ~0ULL, 0, pool.page) != 1)
		return false;
	memcpy_from_page((char *)&mark, pool.page, 0, sizeof(mark));
	pool_call(TMEM_FLUSH_PAGE, ~0ULL, 0, NULL);
	return mark == pool.mark;
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
