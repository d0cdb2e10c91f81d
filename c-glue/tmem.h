/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: what the rest of Xen sees of it.
 */
#ifndef __XEN_TMEM_H__
#define __XEN_TMEM_H__

#include <xen/mm.h>
#include <xen/types.h>
#include <public/xen.h>

struct domain;
struct xen_sysctl_tmem_op;

#ifdef CONFIG_TMEM

#include <xen/tmem-rs.h>
#include <asm/atomic.h>

/* Tmem's part of struct domain. */
struct tmem_domain {
    struct tmem_rs_guest guest;

    /*
     * Frames of persistent pages that tmem holds for the domain.  Raised with
     * page_alloc_lock held, so that those which count and tot_pages together
     * stay within max_pages; lowered at any time.
     */
    atomic_t frames;

    /* As many of them do not count against max_pages. */
    uint64_t quota;
};

void tmem_domain_init(struct domain *d);

/* Returns 0 or -ERESTART.  No vCPU of the domain may run meanwhile or after. */
int tmem_domain_teardown(struct domain *d);

/* Where a domain is freed: nothing of it may be left in tmem. */
void tmem_domain_destroyed(const struct domain *d);

/*
 * Gives some frames that hold no guest's only copy back to the heap if little
 * is left there, unless that takes waiting.  Before each allocation.
 */
void tmem_keep_reserve(void);

/*
 * For an allocation that failed the `tries` + 1st time: gives back what makes
 * it possible, and says whether to try again.  `bits` is the width of addresses
 * that it may have.
 */
bool tmem_make_way(struct domain *d, unsigned int order, unsigned int bits,
                   unsigned int memflags, unsigned int tries);

/*
 * Whether the last allocation on this CPU failed only because somebody else
 * wants the CPU.  Its caller does well to return and to try it again later.
 */
bool tmem_was_interrupted(void);

/*
 * Pages that tmem could give back.  Takes locks that are held while pages are
 * freed, so not for callers that hold heap_lock: they have tmem_cached().
 */
uint64_t tmem_freeable(void);

/* About as many, and for any caller. */
unsigned long tmem_cached(void);

/*
 * XENMEM_claim_pages, of which these are the command and its argument:
 * domain_set_outstanding_pages(), with room made for the claim if need be.
 */
long tmem_claim_pages(struct domain *d, unsigned long pages, unsigned long cmd,
                      XEN_GUEST_HANDLE_PARAM(void) arg);

/* Frames that count against the domain's max_pages, besides tot_pages. */
unsigned int domain_tmem_frames(const struct domain *d);

/*
 * Whether a toolstack may save the domain: 0, or -EBUSY if that would lose what
 * tmem holds for it.  For operations that are of use for nothing else, before
 * the domain is suspended, when it may still give its pages up, and after.
 */
int tmem_check_presave(struct domain *d);
int tmem_check_save(struct domain *d);

/* The domain goes on running here: if it was being saved, that is over. */
void tmem_domain_resume(struct domain *d);

/*
 * XEN_DOMCTL_soft_reset or its continuation, which is the one in u_domctl:
 * destroys the pools that the old kernel had.
 */
long tmem_soft_reset(struct domain *d, bool begins,
                     XEN_GUEST_HANDLE_PARAM(void) u_domctl);

/* XEN_SYSCTL_tmem_op, which is the one in u_sysctl. */
long tmem_control(const struct xen_sysctl_tmem_op *op,
                  XEN_GUEST_HANDLE_PARAM(void) u_sysctl);

#else /* !CONFIG_TMEM */

static inline void tmem_domain_init(struct domain *d) {}
static inline int tmem_domain_teardown(struct domain *d) { return 0; }
static inline void tmem_domain_destroyed(const struct domain *d) {}
static inline void tmem_keep_reserve(void) {}
static inline bool tmem_make_way(
    struct domain *d, unsigned int order, unsigned int bits,
    unsigned int memflags, unsigned int tries) { return false; }
static inline bool tmem_was_interrupted(void) { return false; }
static inline uint64_t tmem_freeable(void) { return 0; }
static inline unsigned long tmem_cached(void) { return 0; }
static inline long tmem_claim_pages(
    struct domain *d, unsigned long pages, unsigned long cmd,
    XEN_GUEST_HANDLE_PARAM(void) arg)
{
    return domain_set_outstanding_pages(d, pages);
}
static inline unsigned int domain_tmem_frames(const struct domain *d)
{
    return 0;
}
static inline int tmem_check_presave(struct domain *d) { return 0; }
static inline int tmem_check_save(struct domain *d) { return 0; }
static inline void tmem_domain_resume(struct domain *d) {}
static inline long tmem_soft_reset(
    struct domain *d, bool begins, XEN_GUEST_HANDLE_PARAM(void) u_domctl)
{
    return 0;
}

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
