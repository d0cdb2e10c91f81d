/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tmem's own files share.
 */
#ifndef __TMEM_INSIDE_H__
#define __TMEM_INSIDE_H__

#include <xen/percpu.h>

struct domain;
struct tmem_rs_guest;
struct xen_sysctl_tmem_op;

/*
 * Set while this CPU runs the library, which takes locks of its own: an
 * allocation from inside it must not enter it again.
 */
DECLARE_PER_CPU(bool, tmem_inside);

/* Around each call of the library that may allocate, free or take locks. */
void tmem_enter(void);
void tmem_leave(void);

/* Decides how much of the heap tmem leaves alone. */
void tmem_set_reserve(void);

/* Whether less than half of that is left. */
bool tmem_reserve_is_low(void);

/* Has tmem take nothing from the heap for a while. */
void tmem_yield(void);

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
