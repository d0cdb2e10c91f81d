/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory as the administrator sees it: XEN_SYSCTL_tmem_op, the
 * hypfs directory /tmem, and a debug key.
 */

#include <xen/errno.h>
#include <xen/event.h>
#include <xen/guest_access.h>
#include <xen/hypercall.h>
#include <xen/hypfs.h>
#include <xen/init.h>
#include <xen/keyhandler.h>
#include <xen/sched.h>
#include <xen/tmem.h>
#include <public/sysctl.h>

#include "inside.h"

/*
 * Held by control operations, which may make a client for a domain or hold on
 * to one: not for a domain that is past its end.
 */
static DEFINE_SPINLOCK(control_lock);

struct tmem_rs_guest *tmem_control_begin(struct domain *d)
{
    spin_lock(&control_lock);
    tmem_enter();

    /* Teardown sets is_dying before it calls tmem_control_barrier(). */
    return d && !d->is_dying ? &d->tmem.guest : NULL;
}

void tmem_control_end(void)
{
    tmem_leave();
    spin_unlock(&control_lock);
}

void tmem_control_barrier(void)
{
    spin_barrier(&control_lock);
}

typedef XEN_GUEST_HANDLE_64(char) buffer_t;

int tmem_host_copy_from_caller(void *to, const void *buffer, size_t offset,
                               size_t bytes)
{
    const buffer_t *from = buffer;

    return copy_from_guest_offset((char *)to, *from, offset, bytes) ? -EFAULT
                                                                    : 0;
}

int tmem_host_copy_to_caller(const void *buffer, size_t offset,
                             const void *from, size_t bytes)
{
    const buffer_t *to = buffer;

    return copy_to_guest_offset(*to, offset, (const char *)from, bytes)
           ? -EFAULT : 0;
}

bool tmem_host_preempt(void)
{
    return hypercall_preempt_check();
}

/* For the debug key: a slow console must not keep the CPU from its timers. */
void tmem_host_print(const void *text, size_t bytes)
{
    printk("%.*s", (int)bytes, (const char *)text);
    process_pending_softirqs();
}

long tmem_control_once(const struct xen_sysctl_tmem_op *op)
{
    struct domain *d = NULL;
    struct tmem_rs_guest *guest;
    long rc;

    BUILD_BUG_ON(sizeof(*op) != 56);

    if ( op->cli_id < DOMID_FIRST_RESERVED )
        d = rcu_lock_domain_by_id(op->cli_id);

    guest = tmem_control_begin(d);
    rc = tmem_rs_control(op, guest, &op->buf);
    tmem_control_end();

    if ( d )
        rcu_unlock_domain(d);

    return rc;
}

long tmem_control(const struct xen_sysctl_tmem_op *op,
                  XEN_GUEST_HANDLE_PARAM(void) u_sysctl)
{
    long rc = tmem_control_once(op);

    /* The argument is the same: what has been done isn't there any more. */
    if ( rc == -ERESTART )
        rc = hypercall_create_continuation(__HYPERVISOR_sysctl, "h", u_sysctl);

    return rc;
}

static void cf_check print_summary(unsigned char key)
{
    printk("'%c' pressed -> transcendent memory\n", key);

    tmem_enter();
    tmem_rs_summary();
    tmem_leave();
}

#ifdef CONFIG_HYPFS

/* As of the latest read of one of them. */
static struct tmem_rs_figures figures;
static DEFINE_SPINLOCK(figures_lock);

static int cf_check read_figure(const struct hypfs_entry *entry,
                                XEN_GUEST_HANDLE_PARAM(void) uaddr)
{
    int rc;

    spin_lock(&figures_lock);

    tmem_enter();
    tmem_rs_figures(&figures);
    tmem_leave();

    rc = hypfs_read_leaf(entry, uaddr);

    spin_unlock(&figures_lock);

    return rc;
}

static const struct hypfs_funcs figure_funcs = {
    .enter = hypfs_node_enter,
    .exit = hypfs_node_exit,
    .read = read_figure,
    .write = hypfs_write_deny,
    .getsize = hypfs_getsize,
    .findentry = hypfs_leaf_findentry,
};

static HYPFS_DIR_INIT(tmem_dir, "tmem");

#define FIGURE(name)                                                        \
    static HYPFS_FIXEDSIZE_INIT(name ## _leaf, XEN_HYPFS_TYPE_UINT, #name,  \
                                figures.name, &figure_funcs, 0)

FIGURE(clients);
FIGURE(pools);
FIGURE(pages);
FIGURE(ephemeral_frames);
FIGURE(persistent_frames);
FIGURE(freeable_frames);
FIGURE(puts);
FIGURE(gets);
FIGURE(hits);
FIGURE(evicted);

static void __init add_figures(void)
{
    hypfs_add_dir(&hypfs_root, &tmem_dir, true);
    hypfs_add_leaf(&tmem_dir, &clients_leaf, true);
    hypfs_add_leaf(&tmem_dir, &pools_leaf, true);
    hypfs_add_leaf(&tmem_dir, &pages_leaf, true);
    hypfs_add_leaf(&tmem_dir, &ephemeral_frames_leaf, true);
    hypfs_add_leaf(&tmem_dir, &persistent_frames_leaf, true);
    hypfs_add_leaf(&tmem_dir, &freeable_frames_leaf, true);
    hypfs_add_leaf(&tmem_dir, &puts_leaf, true);
    hypfs_add_leaf(&tmem_dir, &gets_leaf, true);
    hypfs_add_leaf(&tmem_dir, &hits_leaf, true);
    hypfs_add_leaf(&tmem_dir, &evicted_leaf, true);
}

#else

static inline void add_figures(void) {}

#endif /* CONFIG_HYPFS */

void __init tmem_control_init(void)
{
    register_keyhandler('y', print_summary, "print tmem statistics", true);
    add_figures();
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
