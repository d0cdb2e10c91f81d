/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Xen as the host of tmem's Rust library: mapping frames, charging domains for
 * them, and guests' pages.  Where frames come from is in frames.c.
 */

#include <xen/domain_page.h>
#include <xen/mm.h>
#include <xen/percpu.h>
#include <xen/sched.h>
#include <xen/string.h>
#include <xen/time.h>
#include <xen/tmem.h>
#include <asm/p2m.h>
#include <asm/paging.h>

#include "compat.h"
#include "inside.h"

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

bool tmem_domain_may_grow(const struct domain *d, unsigned long pages)
{
    unsigned long used = domain_tot_pages(d) + domain_tmem_frames(d);

    return used <= d->max_pages && pages <= d->max_pages - used;
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
        tmem_count_uncharged(-(long)frames);
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
    tmem_count_uncharged(frames);
}

/*
 * Takes a reference to a page of the current domain.  Never waits for a pager:
 * the library can't be left in the middle.  Where one is needed, the hypercall
 * fails, and the pager is asked after it (see serve()).
 */
static struct page_info *get_guest_page(uint64_t cmfn, p2m_query_t query,
                                        p2m_type_t *type)
{
    struct page_info *page = get_page_from_gfn(current->domain, cmfn, type,
                                               query);

#ifdef CONFIG_MEM_PAGING
    if ( p2m_is_paging(*type) )
    {
        this_cpu(tmem_paged_out) = ~cmfn;
        if ( page )
            put_page(page);
        return NULL;
    }
#endif

    return page;
}

int tmem_host_copy_in(void *to, uint64_t cmfn)
{
    const void *from;
    p2m_type_t type;
    struct page_info *page = get_guest_page(cmfn, P2M_ALLOC, &type);

    if ( !page )
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

/*
 * In two steps, as the first one takes locks of the domain's p2m, which must
 * not be waited for with a lock of the library's held: that would let one guest
 * stall others.
 */
void *tmem_host_open(uint64_t cmfn, void **window)
{
    p2m_type_t type;
    struct page_info *page = get_guest_page(cmfn, P2M_UNSHARE, &type);

    if ( !page )
        return NULL;

    if ( (type != p2m_ram_rw && type != p2m_ram_logdirty) ||
         /* Not a PV guest's page table, descriptor table or read-only page. */
         !get_page_type(page, PGT_writable_page) )
    {
        put_page(page);
        return NULL;
    }

    *window = page;

    return __map_domain_page(page);
}

void tmem_host_close(void *bytes, void *window, bool written)
{
    struct page_info *page = window;

    unmap_domain_page(bytes);
    if ( written )
        paging_mark_dirty(current->domain, page_to_mfn(page));
    put_page_and_type(page);
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
