/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tmem's Rust library asks of Xen.  The library declares the same
 * functions on its side: change both together.
 */
#ifndef __TMEM_HOST_H__
#define __TMEM_HOST_H__

#include <xen/types.h>

/* One frame that stays mapped and belongs to no domain; NULL if there is none. */
void *tmem_host_alloc_metadata(void);
void tmem_host_free_metadata(void *frame);

/* One frame that belongs to no domain and is mapped on demand; ~0 for none. */
uint64_t tmem_host_alloc_data(void);
void tmem_host_free_data(uint64_t mfn);
void *tmem_host_map(uint64_t mfn);
void tmem_host_unmap(void *bytes);

/* Count frames against the domain's max_pages; false: they do not fit. */
bool tmem_host_charge(void *domain, uint32_t frames);
void tmem_host_uncharge(void *domain, uint32_t frames);

/*
 * Copy a whole frame of the current domain, which names it by machine frame
 * (PV) or guest frame (HVM, PVH).  0, or -EFAULT if it must not be touched.
 */
int tmem_host_copy_in(void *to, uint64_t cmfn);
int tmem_host_copy_out(uint64_t cmfn, const void *from);

/* This CPU's tmem_rs_scratch_size() bytes. */
void *tmem_host_scratch(void);

/* Nanoseconds since boot. */
uint64_t tmem_host_now(void);

#endif /* __TMEM_HOST_H__ */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
