// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device-mapper target for tests: holds transfers of its device back, or fails them.
 *
 *	START LENGTH hold DEVICE
 *
 * Messages, all in blocks of 4 KiB:
 *	before read|write FIRST COUNT	hold back what is about to be passed on
 *	after read|write FIRST COUNT	pass it on, and hold back its end
 *	fail read|write FIRST COUNT	end it in an error, without passing it on
 *	release				let everything go, and hold nothing back any more
 *	discard MAJOR:MINOR FIRST COUNT	discard blocks of another device, whoever has it
 *
 * Status: how many transfers are held back.  "write" is a discard as well.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/module.h>
#include <linux/version.h>

#define SINCE_6_9 (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0))
#define DM_MSG_PREFIX "hold"
#define BLOCK_SHIFT (12 - SECTOR_SHIFT)

enum rule { PASS, BEFORE, AFTER, FAIL };
static const char * const rule_name[] = { "", "before", "after", "fail" };

struct hold {
	struct dm_dev *dev;
	spinlock_t lock;		/* for all that follows */
	enum rule rule;
	bool writes;
	sector_t first, end;
	unsigned int waiting;
	struct bio_list before, after;
};

struct per_bio {
	bool counts;		/* the rule is for this one */
};

/* With the lock held. */
static bool is_meant(struct hold *hold, struct bio *bio)
{
	return hold->rule != PASS && bio_sectors(bio) &&
	       op_is_write(bio_op(bio)) == hold->writes &&
	       bio->bi_iter.bi_sector < hold->end && bio_end_sector(bio) > hold->first;
}

static int map(struct dm_target *ti, struct bio *bio)
{
	struct per_bio *data = dm_per_bio_data(bio, sizeof(*data));
	struct hold *hold = ti->private;
	enum rule rule = PASS;

	bio_set_dev(bio, hold->dev->bdev);
	spin_lock_irq(&hold->lock);
	if (is_meant(hold, bio))
		rule = hold->rule;
	data->counts = rule == AFTER;
	if (rule == BEFORE) {
		bio_list_add(&hold->before, bio);
		hold->waiting++;
	}
	spin_unlock_irq(&hold->lock);
	if (rule == FAIL)
		return DM_MAPIO_KILL;
	return rule == BEFORE ? DM_MAPIO_SUBMITTED : DM_MAPIO_REMAPPED;
}

static int end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct per_bio *data = dm_per_bio_data(bio, sizeof(*data));
	struct hold *hold = ti->private;
	int result = DM_ENDIO_DONE;
	unsigned long flags;

	spin_lock_irqsave(&hold->lock, flags);
	if (data->counts && hold->rule == AFTER) {
		data->counts = false;
		bio_list_add(&hold->after, bio);
		hold->waiting++;
		result = DM_ENDIO_INCOMPLETE;
	}
	spin_unlock_irqrestore(&hold->lock, flags);
	return result;
}

static void release(struct hold *hold)
{
	struct bio_list before, after;
	struct bio *bio;

	spin_lock_irq(&hold->lock);
	hold->rule = PASS;
	hold->waiting = 0;
	before = hold->before;
	after = hold->after;
	bio_list_init(&hold->before);
	bio_list_init(&hold->after);
	spin_unlock_irq(&hold->lock);
	while ((bio = bio_list_pop(&before)))
		dm_submit_bio_remap(bio, NULL);
	while ((bio = bio_list_pop(&after)))
		bio_endio(bio);
}

static int discard(unsigned int major, unsigned int minor, sector_t first, sector_t count)
{
	dev_t dev = MKDEV(major, minor);
	struct block_device *bdev;
	int err;
#if SINCE_6_9
	struct file *file = bdev_file_open_by_dev(dev, BLK_OPEN_READ | BLK_OPEN_WRITE, NULL, NULL);

	if (IS_ERR(file))
		return PTR_ERR(file);
	bdev = file_bdev(file);
#else
	bdev = blkdev_get_by_dev(dev, FMODE_READ | FMODE_WRITE, NULL);
	if (IS_ERR(bdev))
		return PTR_ERR(bdev);
#endif
	err = blkdev_issue_discard(bdev, first, count, GFP_KERNEL);
#if SINCE_6_9
	fput(file);
#else
	blkdev_put(bdev, FMODE_READ | FMODE_WRITE);
#endif
	return err;
}

static int message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
		   unsigned int maxlen)
{
	struct hold *hold = ti->private;
	unsigned long long first, count;
	unsigned int major, minor;
	int rule;

	if (argc == 1 && !strcmp(argv[0], "release")) {
		release(hold);
		return 0;
	}
	if (argc != 4 || kstrtoull(argv[2], 10, &first) || kstrtoull(argv[3], 10, &count))
		return -EINVAL;
	first <<= BLOCK_SHIFT;
	count <<= BLOCK_SHIFT;
	if (!strcmp(argv[0], "discard"))
		return sscanf(argv[1], "%u:%u", &major, &minor) == 2 ?
		       discard(major, minor, first, count) : -EINVAL;
	rule = match_string(rule_name, ARRAY_SIZE(rule_name), argv[0]);
	if (rule <= 0)
		return -EINVAL;
	spin_lock_irq(&hold->lock);
	hold->writes = !strcmp(argv[1], "write");
	hold->first = first;
	hold->end = first + count;
	hold->rule = rule;
	spin_unlock_irq(&hold->lock);
	return 0;
}

static int construct(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct hold *hold;
	int err;

	if (argc != 1) {
		ti->error = "One argument is needed: DEVICE";
		return -EINVAL;
	}
	hold = kzalloc(sizeof(*hold), GFP_KERNEL);
	if (!hold)
		return -ENOMEM;
	err = dm_get_device(ti, argv[0], dm_table_get_mode(ti->table), &hold->dev);
	if (err) {
		kfree(hold);
		return err;
	}
	spin_lock_init(&hold->lock);
	bio_list_init(&hold->before);
	bio_list_init(&hold->after);
	ti->num_flush_bios = 1;
	ti->num_discard_bios = 1;
	ti->accounts_remapped_io = true;
	ti->per_io_data_size = sizeof(struct per_bio);
	ti->private = hold;
	return 0;
}

static void destruct(struct dm_target *ti)
{
	struct hold *hold = ti->private;

	dm_put_device(ti, hold->dev);
	kfree(hold);
}

static void status(struct dm_target *ti, status_type_t type, unsigned int flags, char *result,
		   unsigned int maxlen)
{
	struct hold *hold = ti->private;
	unsigned int sz = 0;

	if (type == STATUSTYPE_INFO)
		DMEMIT("%u", READ_ONCE(hold->waiting));
	else if (type == STATUSTYPE_TABLE)
		DMEMIT("%s", hold->dev->name);
}

static int iterate_devices(struct dm_target *ti, iterate_devices_callout_fn call, void *data)
{
	struct hold *hold = ti->private;

	return call(ti, hold->dev, 0, ti->len, data);
}

static struct target_type hold_target = {
	.name = "hold",
	.version = { 1, 0, 0 },
	.module = THIS_MODULE,
	.ctr = construct,
	.dtr = destruct,
	.map = map,
	.end_io = end_io,
	.message = message,
	.status = status,
	.iterate_devices = iterate_devices,
};

static int __init hold_init(void)
{
	return dm_register_target(&hold_target);
}

static void __exit hold_exit(void)
{
	dm_unregister_target(&hold_target);
}

module_init(hold_init);
module_exit(hold_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("for tests: holds a device's transfers back, or fails them");
