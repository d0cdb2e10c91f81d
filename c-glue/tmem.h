/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: what the rest of Xen sees of it.
 */
#ifndef __XEN_TMEM_H__
#define __XEN_TMEM_H__

#include <xen/types.h>

struct domain;

#ifdef CONFIG_TMEM

#include <xen/tmem-rs.h>
#include <asm/atomic.h>

/* Tmem's part of struct domain. */
struct tmem_domain {
    struct tmem_rs_guest guest;

    /*
     * Frames that tmem holds for the domain and that count against max_pages.
     * Raised with page_alloc_lock held, so that it and tot_pages together stay
     * within the limit; lowered at any time.
     */
    atomic_t frames;
};

void tmem_domain_init(struct domain *d);

/* Returns 0 or -ERESTART.  No vCPU of the domain may run meanwhile or after. */
int tmem_domain_teardown(struct domain *d);

/*
 * Gives some frames that hold no guest's only copy back to the heap, and says
 * whether there were any.  For allocations that would fail otherwise.
 */
bool tmem_relinquish(void);

#else /* !CONFIG_TMEM */

static inline void tmem_domain_init(struct domain *d) {}
static inline int tmem_domain_teardown(struct domain *d) { return 0; }
static inline bool tmem_relinquish(void) { return false; }

#endif /* CONFIG_TMEM */

#endif /* __XEN_TMEM_H__ */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
