// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: the target "tmem-image", a cache of an image that guests share.
 *
 *	START LENGTH tmem-image DEVICE UUID
 *
 * Guests that read the same image, such as a template's root, name it by the same UUID
 * and are in the same shared pool: what one of them has read, the others find there.  A
 * page is put when it was read from the disk; a get leaves it in the pool.
 *
 * Its conditions are simple, as nobody may write:
 *
 *  1. The mapped device is read-only.
 *  2. The UUID names this content, for good: another version of the image has another.
 *  3. Only pages that are being read into the page cache are put: nobody but the disk
 *     writes to them.  A direct reader's process could, and what it wrote would be read
 *     by other guests.
 *  4. The pool is shared.  A guest that the administrator has not authorised gets a
 *     private one without a word; that is found out, and then nothing is cached.
 *
 * Members trust each other: one of them can put what it likes.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/random.h>
#include <linux/uuid.h>
#include "dm-tmem.h"

struct tmem_image {
	struct tmem_lower lower;
	uuid_t uuid;
	s32 pool;			/* < 0: none, and reads just pass */
	struct workqueue_struct *inserts;
	struct tmem_counter_set counters;
};

/* In each bio. */
struct tmem_insert {
	struct work_struct work;
	struct tmem_image *image;
	struct bio *bio;
	struct bvec_iter iter;
	bool wanted;
};

static struct tmem_handle handle_of(sector_t sector)
{
	u64 block = sector >> TMEM_BLOCK_SHIFT;

	return (struct tmem_handle){
		.oid = { block >> TMEM_REGION_SHIFT },
		.index = block % TMEM_REGION_BLOCKS,
	};
}

/* ---- reads ---- */

static void insert(struct work_struct *work)
{
	struct tmem_insert *after = container_of(work, struct tmem_insert, work);
	struct tmem_image *image = after->image;
	struct tmem_handle handle;
	struct bvec_iter iter;
	struct bio_vec bv;

	__bio_for_each_segment(bv, after->bio, iter, after->iter) {
		handle = handle_of(iter.bi_sector);
		if (!tmem_is_cached(bv.bv_page, false))
			tmem_count(&image->counters, TMEM_UNCACHED, 1);
		else if (tmem_put_page(image->pool, &handle, bv.bv_page))
			tmem_count(&image->counters, TMEM_PUTS, 1);
		else
			tmem_count(&image->counters, TMEM_REFUSED, 1);
	}
	after->wanted = false;
	bio_endio(after->bio);		/* comes to end_io() once more */
}

static int map(struct dm_target *ti, struct bio *bio)
{
	struct tmem_insert *after = dm_per_bio_data(bio, sizeof(*after));
	struct tmem_image *image = ti->private;
	struct tmem_handle handle;
	unsigned int hits = 0;
	struct bvec_iter iter;
	struct bio_vec bv;

	after->wanted = false;
	bio_set_dev(bio, image->lower.dev.bdev);
	bio->bi_iter.bi_sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	if (op_is_write(bio_op(bio)) && bio_sectors(bio))
		return DM_MAPIO_KILL;
	if (bio_op(bio) != REQ_OP_READ || image->pool < 0)
		return DM_MAPIO_REMAPPED;
	if (!tmem_is_whole_pages(bio)) {
		tmem_count(&image->counters, TMEM_UNALIGNED, 1);
		return DM_MAPIO_REMAPPED;
	}

	bio_for_each_segment(bv, bio, iter) {
		handle = handle_of(iter.bi_sector);
		tmem_count(&image->counters, TMEM_GETS, 1);
		if (!tmem_get_page(image->pool, &handle, bv.bv_page))
			break;
		hits++;
	}
	tmem_count(&image->counters, TMEM_HITS, hits);
	if (hits)
		bio_advance(bio, hits << PAGE_SHIFT);
	if (!bio->bi_iter.bi_size) {
		bio_endio(bio);
		return DM_MAPIO_SUBMITTED;
	}
	after->wanted = true;
	after->image = image;
	after->bio = bio;
	after->iter = bio->bi_iter;
	return DM_MAPIO_REMAPPED;
}

static int end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct tmem_insert *after = dm_per_bio_data(bio, sizeof(*after));
	struct tmem_image *image = ti->private;

	if (!after->wanted)
		return DM_ENDIO_DONE;
	if (*error) {
		tmem_count(&image->counters, TMEM_FAILED, 1);
		return DM_ENDIO_DONE;
	}
	/* Putting takes longer than interrupts should be off. */
	INIT_WORK(&after->work, insert);
	queue_work(image->inserts, &after->work);
	return DM_ENDIO_INCOMPLETE;
}

/* ---- the pool ---- */

/* A private pool's page is gone after one get, a shared one's is not. */
static bool is_shared(s32 pool, struct page *page)
{
	struct tmem_handle probe = {
		.oid = { get_random_u64(), get_random_u64(), get_random_u64() },
	};
	bool stays;

	if (!tmem_put_page(pool, &probe, page))
		return false;
	stays = tmem_get_page(pool, &probe, page) && tmem_get_page(pool, &probe, page);
	tmem_flush_page(pool, &probe);
	return stays;
}

/* Without a pool the image is read all the same. */
static int join(struct tmem_image *image)
{
	bool stay = tmem_features() & TMEM_FEATURE_POOLS_V2;
	u32 version = stay ? TMEM_POOL_VERSION(2) | TMEM_POOL_STAY : TMEM_POOL_VERSION(1);
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	const char *name = image->lower.dev.name;
	u64 uuid[2];
	long pool;

	if (!page)
		return -ENOMEM;
	memcpy(uuid, &image->uuid, sizeof(uuid));
	pool = tmem_new_pool(TMEM_POOL_SHARED | version, uuid);
	if (pool < 0) {
		pr_warn("%s: not cached: Xen gives no shared tmem pool: %ld\n", name, pool);
	} else if (!is_shared(pool, page)) {
		pr_warn("%s: not cached: this guest is not authorised to share %pUb\n", name,
			&image->uuid);
		tmem_destroy_pool(pool);
		pool = -1;
	}
	image->pool = pool < 0 ? -1 : pool;
	__free_page(page);
	return 0;
}

/* ---- the target ---- */

static int construct(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct tmem_image *image;
	int err;

	if (argc != 2) {
		ti->error = "Two arguments are needed: DEVICE UUID";
		return -EINVAL;
	}
	if (dm_table_get_mode(ti->table) & TMEM_MODE_WRITE) {
		ti->error = "A shared image must be read-only: dmsetup create --readonly";
		return -EINVAL;
	}
	image = kzalloc(sizeof(*image), GFP_KERNEL);
	if (!image) {
		ti->error = "There is no memory";
		return -ENOMEM;
	}
	err = uuid_parse(argv[1], &image->uuid);
	if (err) {
		ti->error = "That is no UUID";
		goto free;
	}
	err = dm_set_target_max_io_len(ti, TMEM_REGION_SECTORS);
	if (err)
		goto free;
	err = tmem_lower_claim(&image->lower, ti, argv[0]);
	if (err)
		goto free;
	err = tmem_counters_init(&image->counters);
	if (err) {
		ti->error = "There is no memory for counters";
		goto release;
	}
	image->inserts = alloc_workqueue("dm-tmem-image", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	err = image->inserts ? join(image) : -ENOMEM;
	if (err) {
		ti->error = "There is no memory";
		goto counters;
	}
	ti->num_flush_bios = 1;
	ti->per_io_data_size = sizeof(struct tmem_insert);
	ti->private = image;
	return 0;
counters:
	if (image->inserts)
		destroy_workqueue(image->inserts);
	tmem_counters_free(&image->counters);
release:
	tmem_lower_release(&image->lower);
free:
	kfree(image);
	return err;
}

static void destruct(struct dm_target *ti)
{
	struct tmem_image *image = ti->private;

	destroy_workqueue(image->inserts);
	if (image->pool >= 0)
		tmem_destroy_pool(image->pool);
	tmem_counters_free(&image->counters);
	tmem_lower_release(&image->lower);
	kfree(image);
}

static void resume(struct dm_target *ti)
{
	struct tmem_image *image = ti->private;

	tmem_lower_link(&image->lower, ti);
	tmem_counters_show(&image->counters, ti);
}

static void postsuspend(struct dm_target *ti)
{
	struct tmem_image *image = ti->private;

	tmem_counters_hide(&image->counters);
	tmem_lower_unlink(&image->lower);
}

static void status(struct dm_target *ti, status_type_t type, unsigned int flags, char *result,
		   unsigned int maxlen)
{
	struct tmem_image *image = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		if (image->pool < 0)
			DMEMIT("pool=none");
		else
			DMEMIT("pool=%d", image->pool);
		sz = tmem_counters_print(&image->counters, result, sz, maxlen);
		break;
	case STATUSTYPE_TABLE:
		DMEMIT("%s %pUb", image->lower.dev.name, &image->uuid);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",device=%s,uuid=%pUb;", image->lower.dev.name, &image->uuid);
		break;
	}
}

static int iterate_devices(struct dm_target *ti, iterate_devices_callout_fn call, void *data)
{
	struct tmem_image *image = ti->private;

	return call(ti, &image->lower.dev, 0, ti->len, data);
}

struct target_type tmem_image_target = {
	.name = "tmem-image",
	.version = { 1, 0, 0 },
	.module = THIS_MODULE,
	.ctr = construct,
	.dtr = destruct,
	.map = map,
	.end_io = end_io,
	.resume = resume,
	.postsuspend = postsuspend,
	.status = status,
	.iterate_devices = iterate_devices,
};
