/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tmem's own files share.
 */
#ifndef __TMEM_INSIDE_H__
#define __TMEM_INSIDE_H__

#include <xen/mm-frame.h>
#include <xen/percpu.h>

struct domain;
struct page_info;
struct tmem_rs_guest;
struct xen_sysctl_tmem_op;

/*
 * Set while this CPU runs the library, which takes locks of its own: an
 * allocation from inside it must not enter it again.
 */
DECLARE_PER_CPU(bool, tmem_inside);

/*
 * A guest frame that the library could not have, as it is paged out: the
 * complement of its number.  0: none.
 */
DECLARE_PER_CPU(uint64_t, tmem_paged_out);

/* Around each call of the library that may allocate, free or take locks. */
void tmem_enter(void);
void tmem_leave(void);

/* How many frames to ask the library for at once. */
#define TMEM_BATCH 32

/* Metadata is taken in blocks of that order, runs are made up to it. */
#define TMEM_BLOCK_ORDER 9

/* Whether tmem was turned on at boot. */
bool tmem_is_on(void);

int tmem_frames_init(void);

/* Adds to the pages that tmem has and no domain is charged for. */
void tmem_count_uncharged(long pages);

/* Whether less than half of what tmem leaves to the heap is there. */
bool tmem_reserve_is_low(void);

/* Has tmem take nothing from the heap for a while. */
void tmem_yield(void);

/*
 * Gives back what is missing for that many pages to be free and not claimed,
 * or a part of it, and says whether it makes sense to try again.
 */
bool tmem_make_room(unsigned long pages);

/* Gives some of what waits to become metadata back, and says how much. */
unsigned int tmem_drop_stock(void);

/* Whether a frame holds guests' data. */
bool tmem_is_data(const struct page_info *page);

/* Whether any frame with a number below `end` does. */
bool tmem_data_below(unsigned long end);

/*
 * Who in the library holds a frame of data; 0: nobody yet.  Such a page is on
 * no list, and nobody else uses the field.
 */
#define tmem_holder_of(page) ((page)->up)

/* Until tmem_leave(), takes no frames from there and keeps none. */
void tmem_avoid(mfn_t start, unsigned long size);

/* Whether max_pages allows a domain that many more. */
bool tmem_domain_may_grow(const struct domain *d, unsigned long pages);

void tmem_control_init(void);

/*
 * Around each call of the library about a domain that need not be the current
 * one.  d may be NULL; the result is, if tmem's end of the domain has come.
 */
struct tmem_rs_guest *tmem_control_begin(struct domain *d);
void tmem_control_end(void);

/* XEN_SYSCTL_tmem_op.  -ERESTART: there is more to do. */
long tmem_control_once(const struct xen_sysctl_tmem_op *op);

/* Waits for the control operation under way, if any. */
void tmem_control_barrier(void);

#endif /* __TMEM_INSIDE_H__ */
