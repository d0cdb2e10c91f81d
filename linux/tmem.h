/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: Xen's hypercall 38, as Xen's public headers lay it down.
 *
 * A domain keeps pages in pools.  A page's name within a pool is its handle: an
 * object of 192 bits and an index.  Any put may be refused.  What was put into a
 * persistent pool stays until it is flushed, its pool is destroyed, or the domain
 * goes; what was put into an ephemeral one may go at any time.
 *
 * The calls never sleep, take no longer than copying a page takes, and may be made
 * with spinlocks held and interrupts off.
 */
#ifndef _LINUX_TMEM_H
#define _LINUX_TMEM_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/mm_types.h>
#include <linux/types.h>
#include <xen/page.h>
#include <xen/xen.h>
#include <xen/interface/xen.h>
#include <asm/xen/hypercall.h>

#define TMEM_NEW_POOL		1
#define TMEM_DESTROY_POOL	2
#define TMEM_PUT_PAGE		4
#define TMEM_GET_PAGE		5
#define TMEM_FLUSH_PAGE		6
#define TMEM_FLUSH_OBJECT	7
#define TMEM_QUERY		16

/* Errors of its own. */
#define TMEM_EFROZEN		1000	/* the host lets the domain put nothing new */
#define TMEM_EEMPTY		1001	/* the pool holds no page at all */

/* Flags of a new pool. */
#define TMEM_POOL_PERSISTENT	BIT(0)
#define TMEM_POOL_SHARED	BIT(1)
/* Version 2 only: a get leaves an ephemeral page where it is, and makes it young. */
#define TMEM_POOL_KEEP		BIT(8)
/* Version 2 only: a get takes a persistent page away. */
#define TMEM_POOL_TAKE		BIT(9)
/* Version 2 only: a member that leaves a shared pool takes nothing with it. */
#define TMEM_POOL_STAY		BIT(10)
/* Version 2 only: its domain empties it before it stops, and makes it anew after. */
#define TMEM_POOL_REMADE	BIT(11)
#define TMEM_POOL_VERSION(v)	((u32)(v) << 24)

/* What TMEM_QUERY answers. */
#define TMEM_FEATURE_BATCH	BIT(0)	/* many pages in one call */
#define TMEM_FEATURE_POOLS_V2	BIT(1)	/* pools of version 2 */
#define TMEM_FEATURE_CARRIED	BIT(2)	/* save and migration carry the pages */
#define TMEM_FEATURE_TARGET	BIT(3)	/* the host may ask for memory back */

struct tmem_request {
	u32 cmd;
	s32 pool;
	union {
		struct {
			u64 uuid[2];
			u32 flags;
			u32 arg1;
		} creat;
		struct {
			u64 oid[3];
			u32 index;
			u32 unused[3];
			u64 gfn;
		} gen;
	} u;
};

static_assert(sizeof(struct tmem_request) == 56);

/* The name of a page within its pool. */
struct tmem_handle {
	u64 oid[3];
	u32 index;
};

static inline long tmem_call(struct tmem_request *request)
{
	return _hypercall1(long, tmem_op, request);
}

static inline long tmem_page_op(u32 cmd, s32 pool, const struct tmem_handle *handle,
				struct page *page)
{
	struct tmem_request request = {
		.cmd = cmd,
		.pool = pool,
		.u.gen = {
			.oid = { handle->oid[0], handle->oid[1], handle->oid[2] },
			.index = handle->index,
			.gfn = page ? pfn_to_gfn(page_to_pfn(page)) : 0,
		},
	};

	return tmem_call(&request);
}

/*
 * Stores a copy of @page.  False if the hypervisor refuses: then no page is stored
 * under @handle any more, an older one neither.
 */
static inline bool tmem_put_page(s32 pool, const struct tmem_handle *handle, struct page *page)
{
	return tmem_page_op(TMEM_PUT_PAGE, pool, handle, page) == 1;
}

/*
 * Copies what is stored into @page.  False if nothing is.  From a private ephemeral
 * pool that takes the page away, unless the pool was made with TMEM_POOL_KEEP; from
 * a persistent one it does not, unless it was made with TMEM_POOL_TAKE.
 */
static inline bool tmem_get_page(s32 pool, const struct tmem_handle *handle, struct page *page)
{
	return tmem_page_op(TMEM_GET_PAGE, pool, handle, page) == 1;
}

/* Nothing is stored under @handle after this. */
static inline void tmem_flush_page(s32 pool, const struct tmem_handle *handle)
{
	tmem_page_op(TMEM_FLUSH_PAGE, pool, handle, NULL);
}

/* Nothing is stored under any index of @handle's object after this. */
static inline void tmem_flush_object(s32 pool, const struct tmem_handle *handle)
{
	tmem_page_op(TMEM_FLUSH_OBJECT, pool, handle, NULL);
}

/*
 * A new pool, its id or an error.  @flags: TMEM_POOL_*, with TMEM_POOL_VERSION(1)
 * or, where tmem_features() has TMEM_FEATURE_POOLS_V2, TMEM_POOL_VERSION(2).
 * @uuid names a shared pool and is not looked at otherwise.
 */
static inline long tmem_new_pool(u32 flags, const u64 uuid[2])
{
	struct tmem_request request = {
		.cmd = TMEM_NEW_POOL,
		.u.creat.flags = flags,
	};

	if (uuid) {
		request.u.creat.uuid[0] = uuid[0];
		request.u.creat.uuid[1] = uuid[1];
	}
	return tmem_call(&request);
}

static inline void tmem_destroy_pool(s32 pool)
{
	struct tmem_request request = { .cmd = TMEM_DESTROY_POOL, .pool = pool };

	tmem_call(&request);
}

/*
 * What the hypervisor can do beyond version 1, as TMEM_FEATURE_*.  One that knows
 * nothing of the question rejects it, and has none.
 */
static inline u32 tmem_features(void)
{
	struct tmem_request request = { .cmd = TMEM_QUERY };
	long features = tmem_call(&request);

	return features < 0 ? 0 : features;
}

#endif
