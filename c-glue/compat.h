/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the releases of Xen that tmem is built for, as tmem's
 * own files see it: they are written for the newest one.
 */
#ifndef __TMEM_COMPAT_H__
#define __TMEM_COMPAT_H__

#include <xen/numa.h>
#include <xen/spinlock.h>

/*
 * Until Xen 4.18 page_alloc_lock was a spinlock_t like any other.  Since then
 * it is an rspinlock_t, which these take without recursion.
 */
#ifndef nrspin_unlock
#define nrspin_lock(lock) spin_lock(lock)
#define nrspin_unlock(lock) spin_unlock(lock)
#endif

/* Until Xen 4.18 nodes were looked up by address. */
#ifndef page_to_nid
#define page_to_nid(page) phys_to_nid(page_to_maddr(page))
#endif

#endif /* __TMEM_COMPAT_H__ */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
