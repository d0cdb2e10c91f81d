// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: pages that leave the page cache go to tmem.
 *
 * The kernel has no hook for that any more, but a tracepoint in the right place, which
 * a module can find by its name.  It is called with interrupts off.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-flags.h>
#include <linux/rcupdate.h>
#include <linux/tracepoint.h>
#include "dm-tmem.h"

/* Interrupts stay off until the whole folio is done. */
static unsigned int max_folio_pages = 32;
module_param(max_folio_pages, uint, 0644);
MODULE_PARM_DESC(max_folio_pages, "put at most this many pages of a dropped folio (32)");

/*
 * Whether nobody else can write to the folio.  Reclaim, and whoever drops caches, has
 * frozen its reference count then; truncation does not.
 */
static bool is_frozen(struct folio *folio)
{
	return !folio_ref_count(folio);
}

static void drop(struct folio *folio, struct page *page, bool over_cap)
{
	unsigned long flags, pfn = page_to_pfn(page);
	struct tmem_frame *frame = tmem_frame(pfn);
	u64 key = frame ? READ_ONCE(frame->key) : 0;
	enum tmem_counter outcome = TMEM_PUTS;
	struct tmem_bucket *bucket;
	struct tmem_disk *disk;
	u64 block, hash = 0;

	if (!key || tmem_key_is_claim(key))
		return;
	disk = tmem_disk_of(TMEM_KEY_DISK(key));
	if (!disk)
		return;
	if (!is_frozen(folio))
		outcome = TMEM_IN_USE;
	else if (folio_test_dirty(folio) || folio_test_writeback(folio) || PageHWPoison(page))
		outcome = TMEM_UNCLEAN;
	else if (over_cap)
		outcome = TMEM_OVER_CAP;
	else
		hash = tmem_hash_page(page);

	block = TMEM_KEY_BLOCK(key);
	bucket = tmem_bucket(disk, block);
	spin_lock_irqsave(&bucket->lock, flags);
	if (frame->key == key) {
		tmem_index_remove(disk, block, pfn);
		if (outcome == TMEM_PUTS && hash != frame->hash)
			outcome = TMEM_CHANGED;
		if (outcome == TMEM_PUTS && !tmem_pool_put(disk, block, page))
			outcome = TMEM_REFUSED;
		tmem_count(&disk->counters, outcome, 1);
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
}

static void folio_leaves(void *unused, struct folio *folio)
{
	long i, cap = READ_ONCE(max_folio_pages);

	rcu_read_lock();
	for (i = 0; i < folio_nr_pages(folio); i++)
		drop(folio, folio_page(folio, i), i >= cap);
	rcu_read_unlock();
}

/*
 * A frame that comes into the page cache holds nothing of what it held before.  A record
 * that is still there is of a page that left unseen: compaction moves pages, and no
 * tracepoint tells.
 */
static void folio_comes(void *unused, struct folio *folio)
{
	long i;

	for (i = 0; i < folio_nr_pages(folio); i++)
		tmem_index_forget_frame(folio_pfn(folio) + i, TMEM_LEFT_OVER);
}

/* ---- tracepoints: not exported, but all of them can be walked ---- */

static struct probe {
	const char *name;
	void *call;
	struct tracepoint *tracepoint;
} probes[] = {
	{ "mm_filemap_delete_from_page_cache", folio_leaves },
	{ "mm_filemap_add_to_page_cache", folio_comes },
};

static void find(struct tracepoint *tracepoint, void *unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(tracepoint->name, probes[i].name))
			probes[i].tracepoint = tracepoint;
}

static void unregister(unsigned int count)
{
	while (count--)
		tracepoint_probe_unregister(probes[count].tracepoint, probes[count].call, NULL);
	tracepoint_synchronize_unregister();
}

int tmem_drop_init(void)
{
	unsigned int i;
	int err;

	for_each_kernel_tracepoint(find, NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		err = -EOPNOTSUPP;
		if (probes[i].tracepoint)
			err = tracepoint_probe_register(probes[i].tracepoint, probes[i].call, NULL);
		if (err) {
			pr_err("this kernel lacks the tracepoint %s: %d\n", probes[i].name, err);
			unregister(i);
			return err;
		}
	}
	return 0;
}

void tmem_drop_exit(void)
{
	unregister(ARRAY_SIZE(probes));
}
