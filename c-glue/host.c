/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Xen as the host of tmem's Rust library: frames, their accounting, and
 * copies from and to guests.
 */

#include <xen/domain_page.h>
#include <xen/init.h>
#include <xen/mm.h>
#include <xen/percpu.h>
#include <xen/sched.h>
#include <xen/string.h>
#include <xen/time.h>
#include <asm/p2m.h>
#include <asm/paging.h>

#include <xen/tmem.h>

#include "compat.h"
#include "inside.h"

/*
 * Pages that tmem has and no domain is charged for: those of ephemeral pages,
 * and a few that stay.  Changes next to heap_lock only, or where a page_alloc_lock
 * is taken, so that one counter for all CPUs costs nothing more.
 */
static long uncharged;

unsigned long tmem_cached(void)
{
    return max(ACCESS_ONCE(uncharged), 0L);
}

static void count(long pages)
{
    arch_fetch_and_add(&uncharged, pages);
}

/*
 * Pages, free and not claimed, that tmem leaves in the heap.  Below that it
 * takes none, so that whoever allocates does not race with guests' puts for
 * what tmem has just given back, and has something to go on with while tmem
 * can't give any, as its locks are held.
 */
static unsigned long __read_mostly reserve;

/* Until then it takes none at all: somebody needs more than the reserve. */
static s_time_t yields_until;

void __init tmem_set_reserve(void)
{
    reserve = total_pages >> 7;
    reserve = max(reserve, (4UL << 20) >> PAGE_SHIFT);
    reserve = min(reserve, (64UL << 20) >> PAGE_SHIFT);
}

bool tmem_reserve_is_low(void)
{
    return unclaimed_pages() < reserve / 2;
}

void tmem_yield(void)
{
    ACCESS_ONCE(yields_until) = NOW() + MILLISECS(10);
}

static bool may_take(void)
{
    s_time_t until = ACCESS_ONCE(yields_until);

    /* A CPU that comes up needs a frame, and is no guest's put. */
    if ( !this_cpu(tmem_inside) )
        return true;

    return unclaimed_pages() > reserve && (!until || NOW() >= until);
}

/*
 * What this CPU's call of the library gave back, for the same call to have
 * again: a put that evicts other pages gets their frames, and need not race
 * for them.  Empty between calls.
 */
#define MAX_KEPT 80 /* more than a new pool's structures take at most */
struct kept {
    unsigned int nr;
    struct page_info *pages[MAX_KEPT];
};
static DEFINE_PER_CPU(struct kept, kept);

static void release(struct page_info *page)
{
    count(-1);
    free_domheap_page(page);
}

static void keep(struct page_info *page)
{
    struct kept *kept = &this_cpu(kept);

    if ( this_cpu(tmem_inside) && kept->nr < MAX_KEPT )
        kept->pages[kept->nr++] = page;
    else
        release(page);
}

void tmem_enter(void)
{
    ASSERT(!this_cpu(tmem_inside));
    this_cpu(tmem_inside) = true;
}

void tmem_leave(void)
{
    struct kept *kept = &this_cpu(kept);

    while ( kept->nr )
        release(kept->pages[--kept->nr]);

    this_cpu(tmem_inside) = false;
}

/*
 * Allocations do not scrub: the library never shows a guest bytes that it did
 * not write to the frame itself.  Freeing marks the frame for scrubbing.
 */

void *tmem_host_alloc_metadata(void)
{
    struct kept *kept = &this_cpu(kept);
    void *frame = may_take() ? alloc_xenheap_page() : NULL;

    /* Not every frame is mapped for good, so trade what is kept for one. */
    while ( !frame && kept->nr )
    {
        release(kept->pages[--kept->nr]);
        frame = alloc_xenheap_page();
    }

    if ( frame )
        count(1);

    return frame;
}

void tmem_host_free_metadata(void *frame)
{
    struct page_info *page = virt_to_page(frame);

    /* All that tells it from a page of the domain heap. */
    page->count_info &= ~PGC_xen_heap;
    keep(page);
}

uint64_t tmem_host_alloc_data(void)
{
    struct kept *kept = &this_cpu(kept);
    struct page_info *page = NULL;

    if ( kept->nr )
        return mfn_x(page_to_mfn(kept->pages[--kept->nr]));

    if ( may_take() )
        page = alloc_domheap_pages(NULL, 0, MEMF_no_scrub);
    if ( !page )
        return mfn_x(INVALID_MFN);

    count(1);

    return mfn_x(page_to_mfn(page));
}

void tmem_host_free_data(uint64_t mfn)
{
    keep(mfn_to_page(_mfn(mfn)));
}

void *tmem_host_map(uint64_t mfn)
{
    return map_domain_page(_mfn(mfn));
}

void tmem_host_unmap(void *bytes)
{
    unmap_domain_page(bytes);
}

/*
 * How many of so many frames count against max_pages: those beyond the quota.
 * None as long as the domain has never run: they are what a toolstack restores,
 * and it has set max_pages to what the domain's own memory needs.
 */
static unsigned int counted(const struct domain *d, unsigned int frames)
{
    uint64_t quota = ACCESS_ONCE(d->tmem.quota);

    return d->creation_finished && frames > quota ? frames - quota : 0;
}

unsigned int domain_tmem_frames(const struct domain *d)
{
    return counted(d, atomic_read(&d->tmem.frames));
}

uint64_t tmem_host_quota(const void *domain)
{
    const struct domain *d = domain;

    return ACCESS_ONCE(d->tmem.quota);
}

void tmem_host_set_quota(void *domain, uint64_t frames)
{
    struct domain *d = domain;

    ACCESS_ONCE(d->tmem.quota) = frames;
}

bool tmem_host_charge(void *domain, uint32_t frames)
{
    struct domain *d = domain;
    unsigned int excess;
    bool fits;

    nrspin_lock(&d->page_alloc_lock);

    excess = counted(d, atomic_read(&d->tmem.frames) + frames);
    fits = !excess || (domain_tot_pages(d) <= d->max_pages &&
                       excess <= d->max_pages - domain_tot_pages(d));
    if ( fits )
    {
        atomic_add(frames, &d->tmem.frames);
        count(-(long)frames);
    }

    nrspin_unlock(&d->page_alloc_lock);

    return fits;
}

/*
 * Takes no lock: the library may hold its own locks here, and whoever holds
 * page_alloc_lock must never wait for those.
 */
void tmem_host_uncharge(void *domain, uint32_t frames)
{
    struct domain *d = domain;

    atomic_sub(frames, &d->tmem.frames);
    count(frames);
}

int tmem_host_copy_in(void *to, uint64_t cmfn)
{
    struct page_info *page;
    const void *from;
    p2m_type_t type;

    if ( check_get_page_from_gfn(current->domain, _gfn(cmfn), true, &type,
                                 &page) )
        return -EFAULT;

    /* Granted and foreign frames can go away, or belong to somebody else. */
    if ( !p2m_is_ram(type) )
    {
        put_page(page);
        return -EFAULT;
    }

    from = __map_domain_page(page);
    memcpy(to, from, PAGE_SIZE);
    unmap_domain_page(from);

    put_page(page);

    return 0;
}

int tmem_host_copy_out(uint64_t cmfn, const void *from)
{
    struct domain *d = current->domain;
    struct page_info *page;
    p2m_type_t type;
    void *to;
    int rc = -EFAULT;

    if ( check_get_page_from_gfn(d, _gfn(cmfn), false, &type, &page) )
        return -EFAULT;

    if ( type != p2m_ram_rw && type != p2m_ram_logdirty )
        goto out;

    /* Not a PV guest's page table, descriptor table or read-only page. */
    if ( !get_page_type(page, PGT_writable_page) )
        goto out;

    to = __map_domain_page(page);
    memcpy(to, from, PAGE_SIZE);
    unmap_domain_page(to);
    paging_mark_dirty(d, page_to_mfn(page));

    put_page_type(page);
    rc = 0;

 out:
    put_page(page);

    return rc;
}

uint64_t tmem_host_now(void)
{
    return NOW();
}

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
