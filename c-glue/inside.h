/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tmem's own files share.
 */
#ifndef __TMEM_INSIDE_H__
#define __TMEM_INSIDE_H__

#include <xen/percpu.h>

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

/* Waits for the control operation under way, if any. */
void tmem_control_barrier(void);

#endif /* __TMEM_INSIDE_H__ */
