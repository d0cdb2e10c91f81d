// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of the pages when the domain is saved, migrated or hibernated.
 *
 *   drain   all go to the disk behind before the domain stops; the pool is made anew
 *           when it goes on.  Safe with every toolstack.
 *   keep    they stay, where the hypervisor says that it carries them along.
 *   refuse  the domain does not stop while there are any.
 *
 * Between freeze and thaw or restore nothing is put into a pool: processes sleep then,
 * but the kernel's own threads may still swap.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/string.h>
#include "swap.h"
#include "tmem.h"

static const char * const mode_names[] = { "drain", "keep", "refuse" };

static enum suspend_mode mode = SUSPEND_DRAIN;
static struct block_device *behind;	/* NULL: there is none */
static bool kept;	/* the pool, through this suspend */
static struct platform_device *device;
static struct device_link *link;

static int mode_set(const char *text, const struct kernel_param *param)
{
	int found = sysfs_match_string(mode_names, text);

	if (found < 0)
		return found;
	mode = found;
	return 0;
}

static int mode_get(char *text, const struct kernel_param *param)
{
	return sysfs_emit(text, "%s\n", mode_names[mode]);
}

static const struct kernel_param_ops mode_ops = { .set = mode_set, .get = mode_get };
module_param_cb(on_suspend, &mode_ops, NULL, 0444);
MODULE_PARM_DESC(on_suspend,
		 "What becomes of the pages when the domain is saved: drain (to the backing disk, the default), keep (where the hypervisor carries them), refuse (to be saved)");

struct device *swap_device(void)
{
	return &device->dev;
}

enum suspend_mode swap_suspend_mode(void)
{
	return mode;
}

static bool are_carried(void)
{
	return tmem_features() & TMEM_FEATURE_CARRIED;
}

static int drain(void)
{
	u64 held = swap_slots_held();
	int err;

	if (held && (mode == SUSPEND_REFUSE || !behind)) {
		pr_err("%llu pages are in the pool: the domain is not suspended\n", held);
		return -EBUSY;
	}
	err = held ? swap_move_all() : 0;
	if (err) {
		pr_err("can't write to the backing disk (%d): the domain is not suspended\n", err);
		return err;
	}
	swap_pool_destroy();
	if (held)
		pr_info("%llu pages are on the backing disk now\n", held);
	return 0;
}

static int swap_freeze(struct device *dev)
{
	int err;

	swap_slots_close(true);
	kept = mode == SUSPEND_KEEP && are_carried() && swap_pool_mark();
	if (kept)
		return 0;
	err = drain();
	if (err)
		swap_slots_close(false);
	return err;
}

static int swap_go_on(struct device *dev)
{
	bool is_there = kept && swap_pool_is_marked();
	int err = 0;

	if (kept && !is_there) {
		pr_crit("this is not the pool that was left: %llu pages are lost\n",
			swap_slots_held());
		swap_slots_lose();
		/* Whatever has its id now is not ours to destroy. */
		swap_pool_forget();
	}
	if (!is_there)
		err = swap_pool_make(mode == SUSPEND_DRAIN);
	if (err)
		pr_err("no pool (%d): pages go to the backing disk\n", err);
	swap_slots_close(false);
	/* The device works without a pool, so that this is no reason to fail. */
	return 0;
}

static const struct dev_pm_ops swap_pm = {
	.freeze = swap_freeze,
	.thaw = swap_go_on,
	.restore = swap_go_on,
};

static struct platform_driver swap_driver = {
	.driver = {
		.name = KBUILD_MODNAME,
		.pm = &swap_pm,
	},
};

/* Has the disk behind suspended after this device, which writes to it until then. */
static int link_to_disk(void)
{
	struct device *supplier = disk_to_dev(behind->bd_disk)->parent;

	/* A disk made of other disks has none, and is not suspended itself. */
	if (!supplier)
		return 0;
	link = device_link_add(&device->dev, supplier, DL_FLAG_STATELESS);
	return link ? 0 : -ENODEV;
}

int swap_suspend_init(struct block_device *disk)
{
	int err;

	behind = disk;
	if (mode == SUSPEND_KEEP && !are_carried()) {
		pr_warn("the hypervisor does not carry pages: on_suspend=drain instead of keep\n");
		mode = SUSPEND_DRAIN;
	}
	if (mode == SUSPEND_DRAIN && !behind) {
		pr_warn("no backing disk: on_suspend=refuse instead of drain\n");
		mode = SUSPEND_REFUSE;
	}
	err = platform_driver_register(&swap_driver);
	if (err)
		return err;
	device = platform_device_register_simple(KBUILD_MODNAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(device)) {
		err = PTR_ERR(device);
		goto unregister_driver;
	}
	err = behind ? link_to_disk() : 0;
	if (!err)
		return 0;
	platform_device_unregister(device);
unregister_driver:
	platform_driver_unregister(&swap_driver);
	return err;
}

void swap_suspend_exit(void)
{
	if (link)
		device_link_del(link);
	platform_device_unregister(device);
	platform_driver_unregister(&swap_driver);
}
