// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: what is counted, for each processor; shown in a target's status and, one
 * file each, in /sys/block/dm-N/tmem/.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/sched/mm.h>
#include <linux/sysfs.h>
#include "dm-tmem.h"

static const char * const names[] = {
	[TMEM_GETS] = "gets",
	[TMEM_HITS] = "hits",
	[TMEM_ABSENT] = "absent",
	[TMEM_PUTS] = "puts",
	[TMEM_REFUSED] = "refused",
	[TMEM_FLUSHES] = "flushes",
	[TMEM_SPLITS] = "splits",
	[TMEM_UNALIGNED] = "unaligned",
	[TMEM_UNCACHED] = "uncached",
	[TMEM_LAYERED] = "layered",
	[TMEM_ENCRYPTED] = "encrypted",
	[TMEM_FAILED] = "failed",
	[TMEM_RECORDED_READ] = "recorded_read",
	[TMEM_RECORDED_WRITE] = "recorded_write",
	[TMEM_OVERTAKEN] = "overtaken",
	[TMEM_CLAIMED_ELSEWHERE] = "claimed_elsewhere",
	[TMEM_FRAMELESS] = "frameless",
	[TMEM_VOIDED] = "voided",
	[TMEM_REPLACED] = "replaced",
	[TMEM_LEFT_OVER] = "left_over",
	[TMEM_IN_USE] = "in_use",
	[TMEM_UNCLEAN] = "unclean",
	[TMEM_CHANGED] = "changed",
	[TMEM_OVER_CAP] = "over_cap",
};

static_assert(ARRAY_SIZE(names) == TMEM_COUNTERS);

u64 tmem_counter_read(const struct tmem_counter_set *set, enum tmem_counter which)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu_ptr(set->counts, cpu)->of[which];
	return sum;
}

unsigned int tmem_counters_print(const struct tmem_counter_set *set, char *result,
				 unsigned int sz, unsigned int maxlen)
{
	int i;

	for (i = 0; i < TMEM_COUNTERS; i++)
		DMEMIT(" %s=%llu", names[i], tmem_counter_read(set, i));
	return sz;
}

/* ---- sysfs ---- */

static struct attribute attributes[TMEM_COUNTERS];
static struct attribute *counter_attrs[TMEM_COUNTERS + 1];
ATTRIBUTE_GROUPS(counter);

void tmem_counters_setup(void)
{
	int i;

	for (i = 0; i < TMEM_COUNTERS; i++) {
		attributes[i] = (struct attribute){ .name = names[i], .mode = 0444 };
		counter_attrs[i] = &attributes[i];
	}
}

static ssize_t show(struct kobject *folder, struct attribute *attribute, char *to)
{
	struct tmem_counter_set *set = container_of(folder, struct tmem_counter_set, folder);

	return sysfs_emit(to, "%llu\n", tmem_counter_read(set, attribute - attributes));
}

static void released(struct kobject *folder)
{
	complete(&container_of(folder, struct tmem_counter_set, folder)->released);
}

static const struct sysfs_ops show_ops = { .show = show };
static const struct kobj_type folder_type = {
	.release = released,
	.sysfs_ops = &show_ops,
	.default_groups = counter_groups,
};

/*
 * When the device is resumed: while a new table is made beside the old one, both would
 * want the folder.
 */
void tmem_counters_show(struct tmem_counter_set *set, struct dm_target *ti)
{
	struct kobject *disk = &disk_to_dev(dm_disk(dm_table_get_md(ti->table)))->kobj;
	unsigned int noio = memalloc_noio_save();
	int err;

	memset(&set->folder, 0, sizeof(set->folder));
	init_completion(&set->released);
	kobject_init(&set->folder, &folder_type);
	if (ti->begin)
		err = kobject_add(&set->folder, disk, "tmem-%llu", (u64)ti->begin);
	else
		err = kobject_add(&set->folder, disk, "tmem");
	memalloc_noio_restore(noio);
	set->shown = true;
	if (err)
		pr_warn("no counters in sysfs for %s: %d\n", dm_table_device_name(ti->table), err);
}

void tmem_counters_hide(struct tmem_counter_set *set)
{
	if (!set->shown)
		return;
	set->shown = false;
	kobject_del(&set->folder);
	kobject_put(&set->folder);
	wait_for_completion(&set->released);
}

int tmem_counters_init(struct tmem_counter_set *set)
{
	set->counts = alloc_percpu(struct tmem_counts);
	return set->counts ? 0 : -ENOMEM;
}

void tmem_counters_free(struct tmem_counter_set *set)
{
	tmem_counters_hide(set);
	free_percpu(set->counts);
}
