/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that these modules are built for: Linux 6.1 and
 * newer.  Each function here is named and behaves as the newest kernel's would.
 */
#ifndef _LINUX_TMEM_COMPAT_H
#define _LINUX_TMEM_COMPAT_H

#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/version.h>

#define TMEM_LINUX_SINCE(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

/* Until 6.3 a block device read or wrote a page at once by a function of its own. */
#define TMEM_HAVE_RW_PAGE (!TMEM_LINUX_SINCE(6, 3))

/* A block device that is held open for one user alone. */
struct tmem_bdev {
#if TMEM_LINUX_SINCE(6, 9)
	struct file *file;
#endif
	struct block_device *bdev;
};

/* Opens the block device at @path for reading and writing, for @holder alone. */
static inline int tmem_bdev_open(struct tmem_bdev *to, const char *path, void *holder)
{
#if TMEM_LINUX_SINCE(6, 9)
	struct file *file = bdev_file_open_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE,
						   holder, NULL);

	if (IS_ERR(file))
		return PTR_ERR(file);
	to->file = file;
	to->bdev = file_bdev(file);
#else
	struct block_device *bdev = blkdev_get_by_path(path,
						       FMODE_READ | FMODE_WRITE | FMODE_EXCL,
						       holder);

	if (IS_ERR(bdev))
		return PTR_ERR(bdev);
	to->bdev = bdev;
#endif
	return 0;
}

static inline void tmem_bdev_close(struct tmem_bdev *from)
{
	if (!from->bdev)
		return;
#if TMEM_LINUX_SINCE(6, 9)
	fput(from->file);
#else
	blkdev_put(from->bdev, FMODE_READ | FMODE_WRITE | FMODE_EXCL);
#endif
	from->bdev = NULL;
}

/*
 * The same for the device of the number @dev, with device-mapper's @mode; @holder may
 * claim it more than once.
 */
#if TMEM_LINUX_SINCE(6, 5)
#define tmem_mode_t blk_mode_t
#define TMEM_MODE_WRITE BLK_OPEN_WRITE
#else
#define tmem_mode_t fmode_t
#define TMEM_MODE_WRITE FMODE_WRITE
#endif

static inline struct block_device *tmem_bdev_claim(struct tmem_bdev *to, dev_t dev,
						   tmem_mode_t mode, void *holder)
{
#if TMEM_LINUX_SINCE(6, 9)
	to->file = bdev_file_open_by_dev(dev, mode, holder, NULL);
	to->bdev = IS_ERR(to->file) ? ERR_CAST(to->file) : file_bdev(to->file);
#else
	to->bdev = blkdev_get_by_dev(dev, mode | FMODE_EXCL, holder);
#endif
	return to->bdev;
}

static inline void tmem_bdev_unclaim(struct tmem_bdev *from, tmem_mode_t mode)
{
#if TMEM_LINUX_SINCE(6, 9)
	fput(from->file);
#else
	blkdev_put(from->bdev, mode | FMODE_EXCL);
#endif
}

/*
 * A disk without queue that transfers whole pages only.  @synchronous: it is done
 * with a transfer when it is asked for one, so that swap need not wait for it.
 */
static inline struct gendisk *tmem_alloc_page_disk(bool synchronous)
{
#if TMEM_LINUX_SINCE(6, 9)
	struct queue_limits limits = {
		.logical_block_size = PAGE_SIZE,
		.physical_block_size = PAGE_SIZE,
		.io_min = PAGE_SIZE,
		.io_opt = PAGE_SIZE,
		.dma_alignment = PAGE_SIZE - 1,
		.max_hw_discard_sectors = UINT_MAX,
		.discard_granularity = PAGE_SIZE,
#if TMEM_LINUX_SINCE(6, 11)
		.features = synchronous ? BLK_FEAT_SYNCHRONOUS : 0,
#endif
	};

	return blk_alloc_disk(&limits, NUMA_NO_NODE);
#else
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	blk_queue_logical_block_size(disk->queue, PAGE_SIZE);
	blk_queue_physical_block_size(disk->queue, PAGE_SIZE);
	blk_queue_dma_alignment(disk->queue, PAGE_SIZE - 1);
	blk_queue_max_discard_sectors(disk->queue, UINT_MAX);
	disk->queue->limits.discard_granularity = PAGE_SIZE;
	blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
	blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, disk->queue);
#if TMEM_LINUX_SINCE(6, 3)
	if (synchronous)
		blk_queue_flag_set(QUEUE_FLAG_SYNCHRONOUS, disk->queue);
#endif
	return disk;
#endif
}

#endif
