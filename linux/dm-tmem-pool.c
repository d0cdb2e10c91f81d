// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: a disk's pages in tmem.
 *
 * Each disk has a private ephemeral pool.  A page's name in it is
 *
 *   object { nonce, region, 0 }, index = the block's place in the region
 *
 * with a random nonce that is new with each pool, so that whatever else may lie under
 * a pool's number, it is never taken for the disk's.
 *
 * A bit for each block says whether the pool may have it: set after a put, cleared
 * before a get or a flush.  Where it is clear, nothing is asked and nothing flushed.
 *
 * Pools are destroyed before the domain is suspended and made anew when it goes on,
 * here or elsewhere, unless the hypervisor says that it carries pages.  One that goes
 * away at another time (the administrator may destroy it) is made anew a second later.
 * Its number may be one that xen-tmem-swap still takes for its own pool's: that driver
 * sees within half a second that it is not.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/vmalloc.h>
#include "dm-tmem.h"

static struct tmem_handle handle_of(struct tmem_disk *disk, u64 block)
{
	return (struct tmem_handle){
		.oid = { READ_ONCE(disk->nonce), block >> TMEM_REGION_SHIFT },
		.index = block % TMEM_REGION_BLOCKS,
	};
}

bool tmem_pool_put(struct tmem_disk *disk, u64 block, struct page *page)
{
	struct tmem_handle handle = handle_of(disk, block);
	s32 pool = READ_ONCE(disk->pool);
	long r;

	if (pool < 0)
		return false;
	r = tmem_page_op(TMEM_PUT_PAGE, pool, &handle, page);
	if (r == 1) {
		set_bit(block, disk->present);
		return true;
	}
	/* What lay under this name is gone as well. */
	clear_bit(block, disk->present);
	if (r == -ENODEV)
		schedule_delayed_work(&disk->remake, HZ);
	return false;
}

/* Takes the page away, whether or not it is got. */
bool tmem_pool_get(struct tmem_disk *disk, u64 block, struct page *page)
{
	struct tmem_handle handle = handle_of(disk, block);
	s32 pool = READ_ONCE(disk->pool);

	if (!test_and_clear_bit(block, disk->present) || pool < 0)
		return false;
	tmem_count(&disk->counters, TMEM_GETS, 1);
	return tmem_get_page(pool, &handle, page);
}

void tmem_pool_flush(struct tmem_disk *disk, u64 first, u64 last)
{
	struct tmem_bucket *bucket;
	unsigned long flags;
	u64 block = first;

	last = min(last, disk->blocks - 1);
	while ((block = find_next_bit(disk->present, last + 1, block)) <= last) {
		bucket = tmem_bucket(disk, block);
		spin_lock_irqsave(&bucket->lock, flags);
		if (test_and_clear_bit(block, disk->present)) {
			struct tmem_handle handle = handle_of(disk, block);

			if (disk->pool >= 0)
				tmem_flush_page(disk->pool, &handle);
			tmem_count(&disk->counters, TMEM_FLUSHES, 1);
		}
		spin_unlock_irqrestore(&bucket->lock, flags);
		block++;
		cond_resched();
	}
}

/* Without a pool the disk works all the same. */
static void make(struct tmem_disk *disk)
{
	long pool;

	WRITE_ONCE(disk->nonce, get_random_u64());
	pool = tmem_new_pool(TMEM_POOL_VERSION(1), NULL);
	WRITE_ONCE(disk->pool, pool < 0 ? -1 : pool);
	if (pool < 0)
		pr_warn("%s: not cached: Xen gives no tmem pool: %ld\n", disk->lower.dev.name,
			pool);
}

/* No block's name: all blocks of a disk are in lower regions. */
static struct tmem_handle handle_of_none(struct tmem_disk *disk)
{
	return (struct tmem_handle){ .oid = { READ_ONCE(disk->nonce), ~0ULL } };
}

/*
 * Whether the number is still an ephemeral pool's, which gives a page once.  If ours is
 * gone, the number may be that of xen-tmem-swap's pool by now, which gives it again.
 */
static bool is_ephemeral(struct tmem_disk *disk, s32 pool)
{
	struct tmem_handle handle = handle_of_none(disk);
	struct page *page = alloc_page(GFP_NOIO | __GFP_ZERO);
	bool is_ephemeral = false;

	if (!page)
		return false;
	if (tmem_put_page(pool, &handle, page) && tmem_get_page(pool, &handle, page))
		is_ephemeral = !tmem_get_page(pool, &handle, page);
	tmem_flush_page(pool, &handle);
	__free_page(page);
	return is_ephemeral;
}

static void destroy(struct tmem_disk *disk)
{
	s32 pool = xchg(&disk->pool, -1);

	/* Calls to tmem are made with interrupts off. */
	synchronize_rcu();
	if (pool >= 0 && is_ephemeral(disk, pool))
		tmem_destroy_pool(pool);
}

/*
 * The hypervisor knows the pool no more; unless who saw that used an older one, which
 * has been replaced since.
 */
static void remake(struct work_struct *work)
{
	struct tmem_disk *disk = container_of(to_delayed_work(work), struct tmem_disk, remake);
	struct tmem_handle handle = handle_of_none(disk);
	s32 pool = READ_ONCE(disk->pool);

	if (pool >= 0 && tmem_page_op(TMEM_FLUSH_PAGE, pool, &handle, NULL) == -ENODEV)
		make(disk);
}

int tmem_pool_init(struct tmem_disk *disk)
{
	disk->present = vzalloc(BITS_TO_LONGS(disk->blocks + 1) * sizeof(long));
	if (!disk->present)
		return -ENOMEM;
	INIT_DELAYED_WORK(&disk->remake, remake);
	make(disk);
	return 0;
}

void tmem_pool_free(struct tmem_disk *disk)
{
	cancel_delayed_work_sync(&disk->remake);
	destroy(disk);
	vfree(disk->present);
}

/* ---- suspend ---- */

static void leave(struct tmem_disk *disk)
{
	cancel_delayed_work_sync(&disk->remake);
	destroy(disk);
}

static int freeze(struct device *unused)
{
	if (!(tmem_features() & TMEM_FEATURE_CARRIED))
		tmem_disks_each(leave);
	return 0;
}

static void come_back(struct tmem_disk *disk)
{
	if (disk->pool < 0)
		make(disk);
}

static int go_on(struct device *unused)
{
	tmem_disks_each(come_back);
	return 0;
}

static const struct dev_pm_ops pm_ops = {
	.freeze = freeze,
	.thaw = go_on,
	.restore = go_on,
};

static struct platform_driver pm_driver = { .driver = { .name = "dm-tmem", .pm = &pm_ops } };
static struct platform_device *pm_device;

int tmem_pools_init(void)
{
	int err = platform_driver_register(&pm_driver);

	if (err)
		return err;
	pm_device = platform_device_register_simple("dm-tmem", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(pm_device)) {
		platform_driver_unregister(&pm_driver);
		return PTR_ERR(pm_device);
	}
	return 0;
}

void tmem_pools_exit(void)
{
	platform_device_unregister(pm_device);
	platform_driver_unregister(&pm_driver);
}
