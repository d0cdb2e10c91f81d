// SPDX-License-Identifier: GPL-2.0-only
/* dm-tmem: the module. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include "dm-tmem.h"

static int __init dm_tmem_init(void)
{
	int err;

	if (!xen_domain()) {
		pr_err("this is no Xen domain: there is no tmem\n");
		return -ENODEV;
	}
	tmem_counters_setup();
	err = tmem_frames_init();
	if (err)
		return err;
	err = tmem_drop_init();
	if (err)
		goto frames;
	err = tmem_pools_init();
	if (err)
		goto drop;
	err = dm_register_target(&tmem_disk_target);
	if (err)
		goto pools;
	err = dm_register_target(&tmem_image_target);
	if (err)
		goto disk;
	return 0;
disk:
	dm_unregister_target(&tmem_disk_target);
pools:
	tmem_pools_exit();
drop:
	tmem_drop_exit();
frames:
	tmem_frames_exit();
	return err;
}

static void __exit dm_tmem_exit(void)
{
	dm_unregister_target(&tmem_image_target);
	dm_unregister_target(&tmem_disk_target);
	tmem_pools_exit();
	tmem_drop_exit();
	tmem_frames_exit();
}

module_init(dm_tmem_init);
module_exit(dm_tmem_exit);
MODULE_LICENSE("GPL");
MODULE_ALIAS("dm-tmem-image");
MODULE_DESCRIPTION("clean pages of a disk in Xen's transcendent memory");
