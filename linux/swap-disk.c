// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block device, and the disk behind it that takes what the pool refuses.
 *
 * Transfers are of whole pages.  What goes to the disk goes to the same sector there,
 * as the very bio that came in: nothing is allocated for it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include "compat.h"
#include "swap.h"
#include "tmem.h"

#define PAGE_SECTORS_ORDER (PAGE_SHIFT - SECTOR_SHIFT)

/*
 * How long a write waits before it fails, where there is no disk: long beside the
 * time that a try takes, so that reclaim leaves the processor to others; short beside
 * a human's patience, as whoever needs a page may have to see thousands fail first.
 */
#define REFUSED_WAIT_US 1000

static char *backing;
module_param(backing, charp, 0444);
MODULE_PARM_DESC(backing, "Disk or partition for pages that the hypervisor refuses, and as large as it");

static bool unbacked;
module_param(unbacked, bool, 0444);
MODULE_PARM_DESC(unbacked, "Go without a backing disk: refused pages stay in memory");

static unsigned long size_mb;
module_param(size_mb, ulong, 0444);
MODULE_PARM_DESC(size_mb, "Size of the device in MiB (default: the backing disk's)");

static struct tmem_bdev disk_behind;
static struct gendisk *disk;
static struct bio_set splits;

static u64 first_slot(const struct bio *bio)
{
	return bio->bi_iter.bi_sector >> PAGE_SECTORS_ORDER;
}

static u64 end_slot(const struct bio *bio)
{
	return bio_end_sector(bio) >> PAGE_SECTORS_ORDER;
}

static void to_disk_behind(struct bio *bio)
{
	bio_set_dev(bio, disk_behind.bdev);
	submit_bio_noacct(bio);
}

/* All of the bio, from its first page on. */
static void write_refused(struct bio *bio)
{
	u64 slot, first = first_slot(bio), end = end_slot(bio);

	swap_count(SWAP_REFUSED, end - first);
	if (!disk_behind.bdev) {
		/* Reclaim tries again at once, and would do nothing else. */
		usleep_range(REFUSED_WAIT_US, 2 * REFUSED_WAIT_US);
		bio_io_error(bio);
		return;
	}
	for (slot = first; slot < end; slot++)
		swap_slot_to_disk(slot);
	swap_count(SWAP_DISK_WRITES, end - first);
	to_disk_behind(bio);
}

static bool is_whole_page(const struct bio_vec *vec)
{
	return !vec->bv_offset && vec->bv_len == PAGE_SIZE;
}

static void write_pages(struct bio *bio)
{
	while (bio->bi_iter.bi_size) {
		struct bio_vec vec = bio_iter_iovec(bio, bio->bi_iter);

		if (!is_whole_page(&vec)) {
			bio_io_error(bio);
			return;
		}
		if (!swap_slot_put(first_slot(bio), vec.bv_page)) {
			write_refused(bio);
			return;
		}
		bio_advance_iter_single(bio, &bio->bi_iter, PAGE_SIZE);
	}
	bio_endio(bio);
}

/* The first page is on the disk; those after it may be elsewhere. */
static void read_from_disk(struct bio *bio)
{
	u64 slot = first_slot(bio), first = slot, end = end_slot(bio);

	while (slot < end && swap_slot_place(slot) == SLOT_DISK)
		slot++;
	if (slot == first)	/* it was written meanwhile */
		slot++;
	if (slot < end) {
		struct bio *front = bio_split(bio, (slot - first) << PAGE_SECTORS_ORDER,
					      GFP_NOIO, &splits);

		if (IS_ERR_OR_NULL(front)) {
			bio_io_error(bio);
			return;
		}
		bio_chain(front, bio);
		/* Comes back to us when this call has returned. */
		submit_bio_noacct(bio);
		bio = front;
	}
	swap_count(SWAP_DISK_READS, slot - first);
	to_disk_behind(bio);
}

static void read_pages(struct bio *bio)
{
	while (bio->bi_iter.bi_size) {
		struct bio_vec vec = bio_iter_iovec(bio, bio->bi_iter);
		int err = -EIO;

		if (is_whole_page(&vec))
			err = swap_slot_get(first_slot(bio), vec.bv_page);
		if (err == -EREMOTE) {
			read_from_disk(bio);
			return;
		}
		if (err) {
			bio_io_error(bio);
			return;
		}
		flush_dcache_page(vec.bv_page);
		bio_advance_iter_single(bio, &bio->bi_iter, PAGE_SIZE);
	}
	bio_endio(bio);
}

static void discard_pages(struct bio *bio)
{
	u64 slot, end = end_slot(bio);

	for (slot = first_slot(bio); slot < end; slot++) {
		swap_slot_free(slot);
		cond_resched();
	}
	bio_endio(bio);
}

static void swap_submit_bio(struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_READ:
		read_pages(bio);
		break;
	case REQ_OP_WRITE:
		write_pages(bio);
		break;
	case REQ_OP_DISCARD:
		discard_pages(bio);
		break;
	default:
		bio->bi_status = BLK_STS_NOTSUPP;
		bio_endio(bio);
	}
}

static void swap_freed(struct block_device *bdev, unsigned long slot)
{
	swap_slot_free(slot);
}

#if TMEM_HAVE_RW_PAGE
/* The kernel tries again with a bio after any error. */
static int swap_rw_page(struct block_device *bdev, sector_t sector, struct page *page,
			enum req_op op)
{
	u64 slot = sector >> PAGE_SECTORS_ORDER;
	int err;

	if (PageTransHuge(page))
		return -EOPNOTSUPP;
	if (op_is_write(op))
		err = swap_slot_put(slot, page) ? 0 : -EIO;
	else
		err = swap_slot_get(slot, page);
	if (!err)
		page_endio(page, op_is_write(op), 0);
	return err;
}
#endif

static const struct block_device_operations swap_operations = {
	.owner = THIS_MODULE,
	.submit_bio = swap_submit_bio,
	.swap_slot_free_notify = swap_freed,
#if TMEM_HAVE_RW_PAGE
	.rw_page = swap_rw_page,
#endif
};

static u64 counted(enum swap_counter what)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu_ptr(swap_counts, cpu)->of[what];
	return sum;
}

#define SWAP_ATTRIBUTE(_name, _format, _value)					\
static ssize_t _name##_show(struct device *dev, struct device_attribute *attr,	\
			    char *text)						\
{										\
	return sysfs_emit(text, _format "\n", _value);				\
}										\
static DEVICE_ATTR_RO(_name)

SWAP_ATTRIBUTE(pool, "%d", swap_pool_id());
SWAP_ATTRIBUTE(held, "%llu", swap_slots_held());
SWAP_ATTRIBUTE(puts, "%llu", counted(SWAP_PUTS));
SWAP_ATTRIBUTE(refused, "%llu", counted(SWAP_REFUSED));
SWAP_ATTRIBUTE(gets, "%llu", counted(SWAP_GETS));
SWAP_ATTRIBUTE(freed, "%llu", counted(SWAP_FREED));
SWAP_ATTRIBUTE(lost, "%llu", counted(SWAP_LOST));
SWAP_ATTRIBUTE(moved, "%llu", counted(SWAP_MOVED));
SWAP_ATTRIBUTE(disk_writes, "%llu", counted(SWAP_DISK_WRITES) + counted(SWAP_MOVED));
SWAP_ATTRIBUTE(disk_reads, "%llu", counted(SWAP_DISK_READS));

static ssize_t limit_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%llu\n", swap_slots_limit());
}

/* What is above it goes to the disk behind, by and by; without one it stays. */
static ssize_t limit_store(struct device *dev, struct device_attribute *attr,
			   const char *text, size_t length)
{
	u64 limit;
	int err = kstrtou64(text, 10, &limit);

	if (err)
		return err;
	swap_slots_set_limit(limit);
	if (disk_behind.bdev)
		swap_move_excess();
	else if (swap_slots_held() > limit)
		return -EOPNOTSUPP;
	return length;
}
static DEVICE_ATTR_RW(limit);

static struct attribute *swap_attributes[] = {
	&dev_attr_pool.attr,
	&dev_attr_held.attr,
	&dev_attr_limit.attr,
	&dev_attr_puts.attr,
	&dev_attr_refused.attr,
	&dev_attr_gets.attr,
	&dev_attr_freed.attr,
	&dev_attr_lost.attr,
	&dev_attr_moved.attr,
	&dev_attr_disk_writes.attr,
	&dev_attr_disk_reads.attr,
	NULL
};

static const struct attribute_group swap_group = {
	.name = "tmem",
	.attrs = swap_attributes,
};

static const struct attribute_group *swap_groups[] = { &swap_group, NULL };

/* Opens the disk behind, and says how many slots the device has. */
static int open_disk_behind(u64 *slots)
{
	u64 wanted = (u64)size_mb << (20 - PAGE_SHIFT);
	int err;

	if (!backing || !*backing) {
		if (!unbacked) {
			pr_err("no backing disk: give backing=/dev/..., or unbacked=1 to go without\n");
			return -EINVAL;
		}
		if (!wanted) {
			pr_err("without a backing disk, size_mb has to be given\n");
			return -EINVAL;
		}
		*slots = wanted;
		return 0;
	}
	err = tmem_bdev_open(&disk_behind, backing, &disk_behind);
	if (err) {
		pr_err("can't open the backing disk %s (%d)\n", backing, err);
		return err;
	}
	*slots = bdev_nr_bytes(disk_behind.bdev) >> PAGE_SHIFT;
	if (wanted)
		*slots = min(*slots, wanted);
	if (*slots)
		return 0;
	pr_err("the backing disk %s has no room for a page\n", backing);
	tmem_bdev_close(&disk_behind);
	return -EINVAL;
}

static int add_disk_for(u64 slots)
{
	int err;

	disk = tmem_alloc_page_disk(true);
	if (IS_ERR(disk))
		return PTR_ERR(disk);
	disk->fops = &swap_operations;
	disk->flags |= GENHD_FL_NO_PART;
	strscpy(disk->disk_name, "tmemswap0", DISK_NAME_LEN);
	set_capacity(disk, slots << PAGE_SECTORS_ORDER);
	err = device_add_disk(swap_device(), disk, swap_groups);
	if (err)
		put_disk(disk);
	return err;
}

static int make_pool(void)
{
	int err = swap_pool_make(swap_suspend_mode() == SUSPEND_DRAIN);

	if (!err)
		return 0;
	if (!disk_behind.bdev) {
		pr_err("no pool (%d): is tmem on at this host?\n", err);
		return err;
	}
	pr_warn("no pool (%d): all pages go to the backing disk. Is tmem on at this host?\n", err);
	return 0;
}

static int __init swap_init(void)
{
	u64 slots;
	int err;

	if (!xen_domain()) {
		pr_err("this is no guest of Xen\n");
		return -ENODEV;
	}
	err = open_disk_behind(&slots);
	if (err)
		return err;
	err = bioset_init(&splits, BIO_POOL_SIZE, 0, 0);
	if (err)
		goto close_behind;
	err = swap_slots_init(slots);
	if (err)
		goto exit_splits;
	err = swap_move_init(disk_behind.bdev);
	if (err)
		goto exit_slots;
	err = swap_pool_init();
	if (err)
		goto exit_move;
	err = swap_suspend_init(disk_behind.bdev);
	if (err)
		goto exit_pool;
	err = make_pool();
	if (err)
		goto exit_suspend;
	err = add_disk_for(slots);
	if (err)
		goto exit_suspend;
	pr_info("%s: %llu MiB in pool %d, backed by %s\n", disk->disk_name,
		slots >> (20 - PAGE_SHIFT), swap_pool_id(), disk_behind.bdev ? backing : "nothing");
	return 0;

exit_suspend:
	swap_suspend_exit();
exit_pool:
	swap_pool_exit();
exit_move:
	swap_move_exit();
exit_slots:
	swap_slots_exit();
exit_splits:
	bioset_exit(&splits);
close_behind:
	tmem_bdev_close(&disk_behind);
	return err;
}

static void __exit swap_exit(void)
{
	del_gendisk(disk);
	put_disk(disk);
	swap_move_stop();
	swap_suspend_exit();
	swap_pool_exit();
	swap_move_exit();
	swap_slots_exit();
	bioset_exit(&splits);
	tmem_bdev_close(&disk_behind);
}

module_init(swap_init);
module_exit(swap_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Swap device in Xen's transcendent memory");
