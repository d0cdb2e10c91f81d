// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: the target "tmem", a cache of clean pages in tmem for a disk that one guest
 * alone uses.
 *
 *	START LENGTH tmem DEVICE [1 no_write_records]
 *
 * It lies directly under a filesystem.  Pages that Linux drops from its page cache go to
 * a pool of tmem, and are taken back from there before the disk is read.  A page is in
 * one place only, so that what the host's memory holds adds to what the guest's does.
 *
 *	filesystem
 *	    | reads and writes              page cache
 *	    v                                   | drops a page
 *	+--------+   this block, this hash  +--------+   put
 *	| target |------------------------->| record |--------> tmem
 *	+--------+                          +--------+            |
 *	    |   ^--------------------------------------------------+ get
 *	    v
 *	  disk
 *
 * Why no stale page comes back
 * ============================
 *
 * A record says: block B of the disk holds content with hash H.  It also names a frame,
 * but only so that it can be found: were it true, then *any* page with this hash could
 * be put for B, whatever the frame has been used for meanwhile.  So there are two things
 * to keep: records are true, and so is what lies in tmem.  Each condition below is needed
 * for that, and tests/linux/src/bin/disk-conditions.rs has a test that fails without it.
 *
 * A record is true when it is made:
 *
 *  1. It is made when a transfer of B has ended without error.
 *  2. No write to B was under way at the same time as that transfer, in whole or in part,
 *     whichever came first.  (Of two writes at once the order on the disk is not known;
 *     a read beside a write may have found either.)
 *  3. Its hash is of what was transferred.  Nobody but the disk writes to a page of the
 *     page cache while it is read: it is not up to date, and locked.  So a read's pages
 *     are hashed at its end.  A page that is written may change meanwhile; its hash is
 *     taken before the write, and if it changes after that, it is dirty and is written
 *     once more.  Other pages, such as a direct reader's, which its process may write to,
 *     are not recorded.
 *
 * It is not there any more when it stops being true:
 *
 *  4. Before a write to B is passed on, all records of B are removed.
 *  5. So are those of each block that a discard, or another transfer of any length,
 *     covers.
 *
 * What lies in tmem for B is what the disk holds:
 *
 *  6. Only content with the record's hash is put.  Frames are reused, moved, decrypted in
 *     place, and no tracepoint tells: nothing but the hash knows.
 *  7. Nobody writes to the page between the hash and the put: its reference count is
 *     frozen at 0, as reclaim leaves it.
 *  8. The record is looked at once more, the page put and the record removed under the
 *     lock that a write takes to remove it: after 4, no put for B comes until the
 *     write has ended.
 *  9. Before a write to B is passed on, and after 4, B is flushed from tmem; so is each
 *     block that a discard covers.
 * 10. A refused put leaves nothing of an older one: the hypervisor sees to that.
 * 11. Nothing else writes to the disk: the target claims it for its mapped device alone,
 *     and each table of that begins with a new, empty pool under a new name.
 *
 * A hash has 64 bits, under a secret key: tmem_hash_page() says what that is worth.
 *
 * What is left alone
 * ==================
 *
 * Direct I/O takes no hits: a hit removes the page, and could not bring it back.  What a
 * filesystem encrypts (fscrypt) or a device above does (dm-crypt) is in the page cache in
 * the clear, and differs from what the disk holds: 6 would refuse every page, at the cost
 * of a hash.  Encrypted inodes and devices above are recognised, and their pages are
 * neither recorded nor asked for.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include "dm-tmem.h"

static int parse(struct tmem_disk *disk, struct dm_target *ti, unsigned int argc, char **argv)
{
	static const struct dm_arg counts[] = {
		{ 0, 1, "The number of options is not valid" },
	};
	struct dm_arg_set args = { .argc = argc, .argv = argv };
	unsigned int count;
	const char *option;
	int err;

	disk->record_writes = true;
	if (!argc)
		return 0;
	err = dm_read_arg_group(counts, &args, &count, &ti->error);
	if (err)
		return err;
	if (args.argc != count) {
		ti->error = "There are more arguments than options";
		return -EINVAL;
	}
	while (count--) {
		option = dm_shift_arg(&args);
		if (strcasecmp(option, "no_write_records")) {
			ti->error = "The only option is no_write_records";
			return -EINVAL;
		}
		disk->record_writes = false;
	}
	return 0;
}

static int construct(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct tmem_disk *disk;
	int err;

	if (!argc) {
		ti->error = "A device is needed: DEVICE [1 no_write_records]";
		return -EINVAL;
	}
	disk = kzalloc(sizeof(*disk), GFP_KERNEL);
	if (!disk) {
		ti->error = "There is no memory";
		return -ENOMEM;
	}
	disk->own = dm_disk(dm_table_get_md(ti->table))->part0;
	disk->blocks = ti->len >> TMEM_BLOCK_SHIFT;
	err = parse(disk, ti, argc - 1, argv + 1);
	if (err)
		goto free;
	err = dm_set_target_max_io_len(ti, TMEM_REGION_SECTORS);
	if (err)
		goto free;
	err = tmem_lower_claim(&disk->lower, ti, argv[0]);
	if (err)
		goto free;

	err = tmem_counters_init(&disk->counters);
	if (err) {
		ti->error = "There is no memory for counters";
		goto release;
	}
	err = tmem_pool_init(disk);
	if (err) {
		ti->error = "There is no memory for a bit for each block";
		goto counters;
	}
	err = tmem_index_init(disk);
	if (err) {
		ti->error = err == -ENOSPC ? "There are 16 tmem disks already" :
					     "There is no memory for the index";
		goto pool;
	}

	ti->num_flush_bios = 1;
	ti->num_discard_bios = 1;
	ti->num_secure_erase_bios = 1;
	ti->num_write_zeroes_bios = 1;
	ti->per_io_data_size = sizeof(struct tmem_transfer);
	ti->private = disk;
	return 0;
pool:
	tmem_pool_free(disk);
counters:
	tmem_counters_free(&disk->counters);
release:
	tmem_lower_release(&disk->lower);
free:
	kfree(disk);
	return err;
}

static void destruct(struct dm_target *ti)
{
	struct tmem_disk *disk = ti->private;

	tmem_index_free(disk);
	tmem_pool_free(disk);
	tmem_counters_free(&disk->counters);
	tmem_lower_release(&disk->lower);
	kfree(disk);
}

static void resume(struct dm_target *ti)
{
	struct tmem_disk *disk = ti->private;

	tmem_lower_link(&disk->lower, ti);
	tmem_counters_show(&disk->counters, ti);
}

static void postsuspend(struct dm_target *ti)
{
	struct tmem_disk *disk = ti->private;

	tmem_counters_hide(&disk->counters);
	tmem_lower_unlink(&disk->lower);
}

/* "flush": takes everything out of tmem. */
static int take_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			unsigned int maxlen)
{
	struct tmem_disk *disk = ti->private;

	if (argc != 1 || strcasecmp(argv[0], "flush")) {
		pr_warn("%s: it takes no message but \"flush\"\n", dm_table_device_name(ti->table));
		return -EINVAL;
	}
	tmem_index_forget_all(disk);
	if (disk->blocks)
		tmem_pool_flush(disk, 0, disk->blocks - 1);
	return 0;
}

static void status(struct dm_target *ti, status_type_t type, unsigned int flags, char *result,
		   unsigned int maxlen)
{
	struct tmem_disk *disk = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		if (disk->pool < 0)
			DMEMIT("pool=none");
		else
			DMEMIT("pool=%d", disk->pool);
		sz = tmem_counters_print(&disk->counters, result, sz, maxlen);
		break;
	case STATUSTYPE_TABLE:
		DMEMIT("%s", disk->lower.dev.name);
		if (!disk->record_writes)
			DMEMIT(" 1 no_write_records");
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",device=%s;", disk->lower.dev.name);
		break;
	}
}

static int iterate_devices(struct dm_target *ti, iterate_devices_callout_fn call, void *data)
{
	struct tmem_disk *disk = ti->private;

	return call(ti, &disk->lower.dev, 0, ti->len, data);
}

struct target_type tmem_disk_target = {
	.name = "tmem",
	.version = { 1, 0, 0 },
	.module = THIS_MODULE,
	.ctr = construct,
	.dtr = destruct,
	.map = tmem_disk_map,
	.end_io = tmem_disk_end_io,
	.resume = resume,
	.postsuspend = postsuspend,
	.message = take_message,
	.status = status,
	.iterate_devices = iterate_devices,
};
