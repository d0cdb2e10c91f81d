// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-tmem: a small record for each page frame, in tables as large as a section of
 * memory, made when the module is loaded and when memory is added:
 *
 *   chunks     +-----------+-----------+   pfn >> PFN_SECTION_SHIFT
 *              |     0     |     1     | ...
 *              +-----|-----+-----|-----+
 *                    v           v
 *   frame      +-----+-----+-----+-------  pfn within the section
 *              | key | key | key |
 *              | hash| hash| hash|  ...    24 bytes
 *              | next| next| next|
 *              +-----+-----+-----+-------
 *
 * Nothing is allocated where pages come and go.  A table stays when its memory goes
 * offline, as that memory may come back.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/highmem.h>
#include <linux/math64.h>
#include <linux/memory.h>
#include <linux/mmzone.h>
#include <linux/random.h>
#include <linux/vmalloc.h>
#include <linux/xarray.h>
#include "dm-tmem.h"

static_assert(sizeof(struct tmem_frame) == 24);

static DEFINE_XARRAY(chunks);

struct tmem_frame *tmem_frame(unsigned long pfn)
{
	struct tmem_frame *chunk = xa_load(&chunks, pfn >> PFN_SECTION_SHIFT);

	return chunk ? chunk + (pfn & (PAGES_PER_SECTION - 1)) : NULL;
}

static int add_section(unsigned long section)
{
	struct tmem_frame *chunk;
	int err;

	if (xa_load(&chunks, section))
		return 0;
	chunk = vzalloc(PAGES_PER_SECTION * sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	err = xa_err(xa_store(&chunks, section, chunk, GFP_KERNEL));
	if (err)
		vfree(chunk);
	return err;
}

static int memory_changes(struct notifier_block *nb, unsigned long action, void *data)
{
	struct memory_notify *what = data;
	unsigned long section = what->start_pfn >> PFN_SECTION_SHIFT;
	unsigned long last = (what->start_pfn + what->nr_pages - 1) >> PFN_SECTION_SHIFT;

	if (action != MEM_GOING_ONLINE)
		return NOTIFY_DONE;
	for (; section <= last; section++)
		if (add_section(section)) {
			pr_warn("no memory for tables of frames: new memory's pages are not put\n");
			break;
		}
	return NOTIFY_OK;
}

static struct notifier_block memory_notifier = { .notifier_call = memory_changes };

/* ---- hashes ---- */

/*
 * NH, the universal hash of UMAC (Black, Halevi, Krawczyk, Krovetz, Rogaway: CRYPTO
 * '99), with words of 64 bits: two pages, whatever they hold, have the same sum for
 * one key in 2^64.  A multiplication by another secret brings the sum's 128 bits down
 * to 64.  It takes half of what xxh64 takes, and whoever writes pages without knowing
 * the key can't do better than chance.
 */
#define WORDS (PAGE_SIZE / sizeof(u64))

static u64 hash_key[WORDS];
static unsigned __int128 hash_fold;

u64 tmem_hash_page(struct page *page)
{
	const u64 *word = kmap_local_page(page);
	unsigned __int128 product, sum = 0;
	unsigned int i;

#pragma GCC unroll 8
	for (i = 0; i < WORDS; i += 2) {
		product = word[i] + hash_key[i];
		product *= word[i + 1] + hash_key[i + 1];
		sum += product;
	}
	kunmap_local(word);
	return (sum * hash_fold) >> 64;
}

/* ---- the module's part ---- */

static void free_chunks(void)
{
	struct tmem_frame *chunk;
	unsigned long section;

	xa_for_each(&chunks, section, chunk)
		vfree(chunk);
	xa_destroy(&chunks);
}

int tmem_frames_init(void)
{
	int node, err;

	get_random_bytes(hash_key, sizeof(hash_key));
	get_random_bytes(&hash_fold, sizeof(hash_fold));
	hash_fold |= 1;

	err = register_memory_notifier(&memory_notifier);
	if (err)
		return err;
	for_each_online_node(node) {
		unsigned long pfn = SECTION_ALIGN_DOWN(node_start_pfn(node));

		for (; pfn < node_end_pfn(node); pfn += PAGES_PER_SECTION) {
			if (pfn_to_online_page(pfn))
				err = add_section(pfn >> PFN_SECTION_SHIFT);
			if (err) {
				pr_err("no memory for tables of frames: 24 bytes for each page\n");
				tmem_frames_exit();
				return err;
			}
			cond_resched();
		}
	}
	return 0;
}

void tmem_frames_exit(void)
{
	unregister_memory_notifier(&memory_notifier);
	free_chunks();
}
