/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Giving memory back, as whoever asks for it needs it.
 *
 *   any frame       the oldest ephemeral pages go.
 *   a run           of 2^order frames, or frames below an address or of a node:
 *                   a place is searched that holds nothing but free pages and
 *                   tmem's data, and the data moves out of it.  Ephemeral pages
 *                   go only for as many frames as the host lacks.
 *
 * A request that tmem can't help costs nobody a page.
 */

#include <xen/event.h>
#include <xen/mm.h>
#include <xen/numa.h>
#include <xen/percpu.h>
#include <xen/sched.h>
#include <xen/softirq.h>
#include <xen/tmem.h>

#include "compat.h"
#include "inside.h"

/* Pages that one search for a run looks at, at most. */
#define SEARCH (1UL << 18)

/* Times that an allocation is tried again. */
#define TRIES 8

/* Whether an allocation stopped where it could have gone on. */
static DEFINE_PER_CPU(bool, interrupted);

bool tmem_was_interrupted(void)
{
    bool was = this_cpu(interrupted);

    this_cpu(interrupted) = false;

    return was;
}

static bool may_enter(void)
{
    /*
     * Interrupts may have come to a CPU that holds a lock of the library, and
     * with them off a wait for one could be a wait for an answer from here.
     */
    return tmem_is_on() && system_state >= SYS_STATE_active &&
           !this_cpu(tmem_inside) && !in_irq() && local_irq_is_enabled();
}

/* Somebody else wants this CPU. */
static bool is_wanted(void)
{
    return softirq_pending(smp_processor_id());
}

/*
 * Gives up to that many frames back.  Goes on, unless somebody wants the CPU,
 * until there is one: pages without bytes of their own yield none each.
 */
static unsigned long give(unsigned long frames, enum tmem_rs_wait wait)
{
    unsigned long freed;
    uint32_t round = 0;

    if ( !may_enter() )
        return 0;

    freed = tmem_drop_stock();
    if ( freed >= frames )
        return freed;

    tmem_enter();
    do {
        freed += tmem_rs_relinquish(frames - freed, wait, &round);
    } while ( round != TMEM_RS_OVER && !freed && !is_wanted() );
    tmem_leave();

    return freed;
}

void tmem_keep_reserve(void)
{
    if ( unlikely(tmem_reserve_is_low()) && tmem_cached() )
        give(TMEM_BATCH, TMEM_RS_WAIT_NOT);
}

uint64_t tmem_freeable(void)
{
    return tmem_is_on() ? tmem_rs_freeable() : 0;
}

bool tmem_make_room(unsigned long pages)
{
    unsigned long freed;

    if ( unclaimed_pages() + tmem_freeable() < pages )
        return false;

    do {
        tmem_yield();
        freed = give(TMEM_BATCH, TMEM_RS_WAIT_ALWAYS);
    } while ( freed && unclaimed_pages() < pages &&
              !hypercall_preempt_check() );

    return freed;
}

/* What an allocation is particular about. */
struct wish {
    unsigned long size;  /* frames in a row, aligned to as many */
    unsigned long end;   /* all below this one */
    nodeid_t node;       /* NUMA_NO_NODE: any */
};

/*
 * Whether nothing but tmem is in the way of a run there; else `*skip` is how
 * far the first thing that is ends.
 */
static bool can_be_cleared(const struct wish *wish, unsigned long start,
                           unsigned long *skip)
{
    unsigned long i;

    for ( i = 0; i < wish->size; i++ )
    {
        const struct page_info *page;

        *skip = i + 1;
        if ( !mfn_valid(_mfn(start + i)) )
            return false;

        page = mfn_to_page(_mfn(start + i));
        if ( page->count_info & PGC_broken )
            return false;
        if ( wish->node != NUMA_NO_NODE && page_to_nid(page) != wish->node )
            return false;
        if ( !page_state_is(page, free) &&
             !(tmem_is_data(page) && tmem_holder_of(page)) )
            return false;
    }

    return true;
}

/*
 * Moves tmem's data out of the frames from `start` on, or evicts it.  Nothing
 * that becomes free there is taken for other data meanwhile.
 */
static bool clear(const struct wish *wish, unsigned long start)
{
    unsigned long i;
    bool done = true;

    tmem_enter();
    tmem_avoid(_mfn(start), wish->size);
    for ( i = 0; i < wish->size && done; i++ )
    {
        const struct page_info *page = mfn_to_page(_mfn(start + i));

        if ( !tmem_is_data(page) )
            continue;

        if ( is_wanted() )
        {
            this_cpu(interrupted) = true;
            done = false;
        }
        else
            done = tmem_rs_vacate(start + i, tmem_holder_of(page),
                                  TMEM_RS_WAIT_ALWAYS);
    }
    tmem_leave();

    return done;
}

/* Where the last search stopped: the next one goes on there. */
static unsigned long place;

static bool make_run(const struct wish *wish)
{
    unsigned long start = ACCESS_ONCE(place), looked, skip;
    bool done = false;

    for ( looked = 0; looked < min(SEARCH, wish->end) && !done; looked += skip )
    {
        start = ROUNDUP(start, wish->size);
        if ( start + wish->size > wish->end )
            start = 0;

        if ( can_be_cleared(wish, start, &skip) )
        {
            tmem_yield();
            done = clear(wish, start);
        }
        else if ( is_wanted() )
            this_cpu(interrupted) = true;

        /* What is half cleared goes on where it stopped. */
        if ( this_cpu(interrupted) )
            break;

        start += skip;
    }
    ACCESS_ONCE(place) = start;

    return done;
}

bool tmem_make_way(struct domain *d, unsigned int order, unsigned int bits,
                   unsigned int memflags, unsigned int tries)
{
    struct wish wish = {
        .size = 1UL << order,
        .end = max_page,
        .node = NUMA_NO_NODE,
    };

    this_cpu(interrupted) = false;

    if ( tries >= TRIES || order > TMEM_BLOCK_ORDER || !may_enter() )
        return false;

    /* A domain at its limit is refused whatever there is. */
    if ( d && !(memflags & (MEMF_no_owner | MEMF_no_refcount)) &&
         !tmem_domain_may_grow(d, 1UL << order) )
        return false;

    if ( bits - PAGE_SHIFT < BITS_PER_LONG )
        wish.end = min(wish.end, 1UL << (bits - PAGE_SHIFT));
    if ( memflags & MEMF_exact_node )
        wish.node = MEMF_get_node(memflags);

    if ( !order && wish.end == max_page && wish.node == NUMA_NO_NODE )
        return give(TMEM_BATCH, TMEM_RS_WAIT_ALWAYS);

    if ( !tmem_data_below(wish.end) )
        return false;

    /* A run needs as many frames, wherever they come from. */
    while ( unclaimed_pages() < wish.size )
    {
        if ( !give(TMEM_BATCH, TMEM_RS_WAIT_ALWAYS) )
            return false;
        if ( is_wanted() )
        {
            this_cpu(interrupted) = true;
            return false;
        }
    }

    return make_run(&wish);
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
