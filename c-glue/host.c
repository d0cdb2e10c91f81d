/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Xen as the host of tmem's Rust library: frames, their accounting, and
 * copies from and to guests.
 */

#include <xen/domain_page.h>
#include <xen/mm.h>
#include <xen/sched.h>
#include <xen/string.h>
#include <xen/time.h>
#include <asm/p2m.h>
#include <asm/paging.h>

#include <xen/tmem-rs.h>

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
 * Allocations do not scrub: the library never shows a guest bytes that it did
 * not write to the frame itself.  Freeing marks the frame for scrubbing.
 */

void *tmem_host_alloc_metadata(void)
{
    void *frame = alloc_xenheap_page();

    if ( frame )
        count(1);

    return frame;
}

void tmem_host_free_metadata(void *frame)
{
    count(-1);
    free_xenheap_page(frame);
}

uint64_t tmem_host_alloc_data(void)
{
    struct page_info *page = alloc_domheap_pages(NULL, 0, MEMF_no_scrub);

    if ( !page )
        return mfn_x(INVALID_MFN);

    count(1);

    return mfn_x(page_to_mfn(page));
}

void tmem_host_free_data(uint64_t mfn)
{
    count(-1);
    free_domheap_page(mfn_to_page(_mfn(mfn)));
}

void *tmem_host_map(uint64_t mfn)
{
    return map_domain_page(_mfn(mfn));
}

void tmem_host_unmap(void *bytes)
{
    unmap_domain_page(bytes);
}

bool tmem_host_charge(void *domain, uint32_t frames)
{
    struct domain *d = domain;
    unsigned int used;
    bool fits;

    spin_lock(&d->page_alloc_lock);

    used = domain_tot_pages(d) + domain_tmem_frames(d);
    fits = used <= d->max_pages && frames <= d->max_pages - used;
    if ( fits )
    {
        atomic_add(frames, &d->tmem.frames);
        count(-(long)frames);
    }

    spin_unlock(&d->page_alloc_lock);

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
