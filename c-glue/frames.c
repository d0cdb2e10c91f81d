/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where tmem's frames come from.
 *
 *   metadata   of the Xen heap, mapped for good, and never moved.  Taken in
 *              blocks of 2 MiB where there are some, so that what can't be
 *              moved lies together; what a block has left over is stock.
 *   data       of the domain heap, one by one.  What one holds can be moved
 *              to another, as nobody but the library's tables names it: for
 *              each, `data_frames` has a bit, and its page_info says who in
 *              the library holds it.
 *
 * Nothing needs an order above 0.  Frames go back to the heap one by one, and
 * Xen's buddy allocator makes them whole again.
 */

#include <xen/init.h>
#include <xen/mm.h>
#include <xen/pdx.h>
#include <xen/percpu.h>
#include <xen/sched.h>
#include <xen/time.h>
#include <xen/tmem.h>
#include <xen/vmap.h>

#include "inside.h"

/*
 * Pages that tmem has and no domain is charged for: those of ephemeral pages,
 * stock, and a few that stay.  Changes next to heap_lock only, or where a
 * page_alloc_lock is taken, so that one counter for all CPUs costs no more.
 */
static long uncharged;

unsigned long tmem_cached(void)
{
    return max(ACCESS_ONCE(uncharged), 0L);
}

void tmem_count_uncharged(long pages)
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

bool tmem_reserve_is_low(void)
{
    return unclaimed_pages() < reserve / 2;
}

void tmem_yield(void)
{
    ACCESS_ONCE(yields_until) = NOW() + MILLISECS(10);
}

/*
 * Frames that are to become free on this CPU's behalf: none is kept, and what
 * the heap hands out of them goes back to it in the end.
 */
struct avoided {
    unsigned long start, size;
    struct page_list_head held;
};
static DEFINE_PER_CPU(struct avoided, avoided);

static bool may_take(void)
{
    s_time_t until = ACCESS_ONCE(yields_until);

    /* Neither bringing up a CPU nor moving data is a guest's put. */
    if ( !this_cpu(tmem_inside) || this_cpu(avoided).size )
        return true;

    return unclaimed_pages() > reserve && (!until || NOW() >= until);
}

/* ---- which frames hold data ---- */

/* A bit for each page of memory, by pdx. */
static unsigned long *__read_mostly data_frames;

/* Pages added to the host later have none, and are not moved. */
static unsigned long __read_mostly nr_data_frames;

/* Of frames whose numbers have that many bits, how many there are. */
static unsigned long by_width[BITS_PER_LONG - PAGE_SHIFT + 1];

static unsigned long *width_of(const struct page_info *page)
{
    return &by_width[flsl(mfn_x(page_to_mfn(page)))];
}

bool tmem_data_below(unsigned long end)
{
    unsigned int width;

    for ( width = 0; width <= flsl(end - 1); width++ )
        if ( ACCESS_ONCE(by_width[width]) )
            return true;

    return false;
}

static void begin_data(struct page_info *page)
{
    unsigned long pdx = page_to_pdx(page);

    tmem_holder_of(page) = 0;
    if ( pdx < nr_data_frames )
    {
        arch_fetch_and_add(width_of(page), 1UL);
        set_bit(pdx, data_frames);
    }
}

static void end_data(struct page_info *page)
{
    unsigned long pdx = page_to_pdx(page);

    if ( pdx < nr_data_frames && test_and_clear_bit(pdx, data_frames) )
        arch_fetch_and_add(width_of(page), -1UL);
}

bool tmem_is_data(const struct page_info *page)
{
    unsigned long pdx = page_to_pdx(page);

    return pdx < nr_data_frames && test_bit(pdx, data_frames);
}

void tmem_host_note_holder(uint64_t mfn, uint64_t holder)
{
    tmem_holder_of(mfn_to_page(_mfn(mfn))) = holder;
}

/* ---- to and from the heap ---- */

/* More than the structures of a new pool take at most. */
#define MAX_KEPT 80

/*
 * What this CPU's call of the library gave back, for the same call to have
 * again: a put that evicts other pages gets their frames, and need not race
 * for them.  Empty between calls.
 */
struct kept {
    unsigned int nr;
    struct page_info *pages[MAX_KEPT];
};
static DEFINE_PER_CPU(struct kept, kept);

/* Frames of the Xen heap that wait to become metadata. */
static PAGE_LIST_HEAD(stock);
static DEFINE_SPINLOCK(stock_lock);

static void release(struct page_info *page)
{
    tmem_count_uncharged(-1);
    free_domheap_page(page);
}

/*
 * A frame that its owner has done with.  One that is to go offline, as its
 * memory is failing, must not go round in here.
 */
static void keep(struct page_info *page)
{
    struct kept *kept = &this_cpu(kept);

    if ( this_cpu(tmem_inside) && !this_cpu(avoided).size &&
         kept->nr < MAX_KEPT && page_state_is(page, inuse) &&
         !(page->count_info & PGC_broken) )
        kept->pages[kept->nr++] = page;
    else
        release(page);
}

void tmem_enter(void)
{
    ASSERT(!this_cpu(tmem_inside));
    this_cpu(tmem_inside) = true;
}

void tmem_avoid(mfn_t start, unsigned long size)
{
    struct avoided *avoided = &this_cpu(avoided);

    ASSERT(this_cpu(tmem_inside) && !avoided->size);
    avoided->start = mfn_x(start);
    avoided->size = size;
    INIT_PAGE_LIST_HEAD(&avoided->held);
}

void tmem_leave(void)
{
    struct kept *kept = &this_cpu(kept);
    struct avoided *avoided = &this_cpu(avoided);
    struct page_info *page;

    while ( kept->nr )
        release(kept->pages[--kept->nr]);

    if ( avoided->size )
    {
        while ( (page = page_list_remove_head(&avoided->held)) )
            release(page);
        avoided->size = 0;
    }

    this_cpu(tmem_inside) = false;
}

/*
 * Allocations do not scrub: the library never shows a guest bytes that it did
 * not write to the frame itself.  Freeing marks the frame for scrubbing.
 */

static struct page_info *take_stock(void)
{
    struct page_info *page;

    spin_lock(&stock_lock);
    page = page_list_remove_head(&stock);
    spin_unlock(&stock_lock);

    return page;
}

/* Takes a block for metadata: the first frame of it, the others to stock. */
static struct page_info *open_block(void)
{
    unsigned int order, i;
    struct page_info *pages;
    void *block = NULL;

    for ( order = TMEM_BLOCK_ORDER; ; order -= TMEM_BLOCK_ORDER )
    {
        /* A block must not use up what is left to others. */
        if ( !order || unclaimed_pages() > 2 * reserve + (1UL << order) )
            block = alloc_xenheap_pages(order, 0);
        if ( block || !order )
            break;
    }
    if ( !block )
        return NULL;

    pages = virt_to_page(block);
    tmem_count_uncharged(1L << order);
    if ( order )
    {
        spin_lock(&stock_lock);
        for ( i = 1; i < (1u << order); i++ )
            page_list_add_tail(&pages[i], &stock);
        spin_unlock(&stock_lock);
    }

    return pages;
}

unsigned int tmem_drop_stock(void)
{
    struct page_info *page;
    unsigned int nr;

    for ( nr = 0; nr < TMEM_BATCH && (page = take_stock()); nr++ )
    {
        page->count_info &= ~PGC_xen_heap;
        release(page);
    }

    return nr;
}

void *tmem_host_alloc_metadata(void)
{
    struct kept *kept = &this_cpu(kept);
    struct page_info *page = take_stock();

    if ( !page && may_take() )
        page = open_block();

    /* Not every frame is mapped for good, so trade what is kept for one. */
    while ( !page && kept->nr )
    {
        void *frame;

        release(kept->pages[--kept->nr]);
        frame = alloc_xenheap_page();
        if ( frame )
        {
            tmem_count_uncharged(1);
            page = virt_to_page(frame);
        }
    }

    return page ? page_to_virt(page) : NULL;
}

void tmem_host_free_metadata(void *frame)
{
    struct page_info *page = virt_to_page(frame);

    /* All that tells it from a page of the domain heap. */
    page->count_info &= ~PGC_xen_heap;
    keep(page);
}

static struct page_info *take(void)
{
    struct avoided *avoided = &this_cpu(avoided);
    struct page_info *page;

    while ( (page = alloc_domheap_pages(NULL, 0, MEMF_no_scrub)) )
    {
        tmem_count_uncharged(1);
        if ( mfn_x(page_to_mfn(page)) - avoided->start >= avoided->size )
            break;
        page_list_add(page, &avoided->held);
    }

    return page;
}

uint64_t tmem_host_alloc_data(void)
{
    struct kept *kept = &this_cpu(kept);
    struct page_info *page = NULL;

    if ( kept->nr )
        page = kept->pages[--kept->nr];
    else if ( may_take() )
        page = take();
    if ( !page )
        return mfn_x(INVALID_MFN);

    begin_data(page);

    return mfn_x(page_to_mfn(page));
}

void tmem_host_free_data(uint64_t mfn)
{
    struct page_info *page = mfn_to_page(_mfn(mfn));

    end_data(page);
    keep(page);
}

int __init tmem_frames_init(void)
{
    unsigned long bytes = BITS_TO_LONGS(max_pdx) * sizeof(*data_frames);

    reserve = total_pages >> 7;
    reserve = max(reserve, (4UL << 20) >> PAGE_SHIFT);
    reserve = min(reserve, (64UL << 20) >> PAGE_SHIFT);

    data_frames = vzalloc(bytes);
    if ( !data_frames )
        return -ENOMEM;
    nr_data_frames = max_pdx;

    return 0;
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
