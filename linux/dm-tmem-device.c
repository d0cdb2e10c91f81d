// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: the claim on the device below.
 *
 * Whatever writes to the device otherwise than through the target makes stale pages of
 * what tmem has.  Device-mapper's own claim keeps filesystems off, but lets its other
 * devices in; this one is held for the mapped device, and so keeps them off as well.  It
 * is taken once more by each new table of the same mapped device.  A program that opens
 * the device without a claim can't be kept off.
 */
#include <linux/blkdev.h>
#include "dm-tmem.h"

/* As device-mapper takes devices: by path or, as in its own tables, MAJOR:MINOR. */
static int find_device(const char *path, dev_t *dev)
{
	unsigned int major, minor;
	char more;

	if (sscanf(path, "%u:%u%c", &major, &minor, &more) != 2)
		return lookup_bdev(path, dev);
	*dev = MKDEV(major, minor);
	return MAJOR(*dev) == major && MINOR(*dev) == minor ? 0 : -EOVERFLOW;
}

int tmem_lower_claim(struct tmem_lower *lower, struct dm_target *ti, const char *path)
{
	struct block_device *bdev;
	dev_t dev;
	int err;

	err = find_device(path, &dev);
	if (err) {
		ti->error = "There is no such block device";
		return err;
	}
	lower->dev.mode = dm_table_get_mode(ti->table);
	bdev = tmem_bdev_claim(&lower->claim, dev, lower->dev.mode, dm_table_get_md(ti->table));
	if (IS_ERR(bdev)) {
		err = PTR_ERR(bdev);
		ti->error = err == -EBUSY ? "The device is in use" : "Can't open the device";
		return err;
	}
	lower->dev.bdev = bdev;
	format_dev_t(lower->dev.name, dev);
	return 0;
}

void tmem_lower_release(struct tmem_lower *lower)
{
	tmem_lower_unlink(lower);
	tmem_bdev_unclaim(&lower->claim, lower->dev.mode);
}

/*
 * Tells sysfs, for lsblk and others, which lies on which: from the first resume on, as
 * the mapped device is not there before.
 */
void tmem_lower_link(struct tmem_lower *lower, struct dm_target *ti)
{
	struct gendisk *disk = dm_disk(dm_table_get_md(ti->table));

	if (!lower->linked && !bd_link_disk_holder(lower->dev.bdev, disk))
		lower->linked = disk;
}

void tmem_lower_unlink(struct tmem_lower *lower)
{
	if (lower->linked)
		bd_unlink_disk_holder(lower->dev.bdev, lower->linked);
	lower->linked = NULL;
}
