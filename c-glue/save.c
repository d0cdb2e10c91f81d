/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory and domains that are saved, migrated, or start anew under
 * the same id.
 *
 * A toolstack saves a domain's tmem by XEN_SYSCTL_tmem_op, between SAVE_BEGIN
 * and SAVE_END.  One that does not know of tmem would lose persistent pages
 * without notice, and leave the guest with ids of pools that the next pool gets
 * again.  Two operations that are of use for nothing but saving refuse that:
 *
 *  - Logdirty mode, which a live migration begins with.  The guest has not been
 *    told yet, and may still give up what it has: persistent pages only.
 *  - Reading the TSC's state, with the domain suspended: pools as well.
 *
 * The domain goes on running then, with all its pages.
 */

#include <xen/errno.h>
#include <xen/hypercall.h>
#include <xen/lib.h>
#include <xen/sched.h>
#include <xen/tmem.h>
#include <public/sysctl.h>

#include "inside.h"

static int check(struct domain *d, enum tmem_rs_unsaved allowed)
{
    enum tmem_rs_unsaved lost = TMEM_RS_UNSAVED_NOTHING;
    struct tmem_rs_guest *guest = tmem_control_begin(d);

    if ( guest )
        lost = tmem_rs_unsaved(guest);

    tmem_control_end();

    if ( lost <= allowed )
        return 0;

    printk(XENLOG_G_WARNING
           "%pd can't be saved without its tmem %s: install the libxenguest that comes with tmem, or have the guest stop using tmem (e.g. swapoff)\n",
           d, lost == TMEM_RS_UNSAVED_PAGES ? "pages" : "pools");

    return -EBUSY;
}

int tmem_check_presave(struct domain *d)
{
    return check(d, TMEM_RS_UNSAVED_POOLS);
}

int tmem_check_save(struct domain *d)
{
    return check(d, TMEM_RS_UNSAVED_NOTHING);
}

static long control(const struct domain *d, uint32_t cmd)
{
    const struct xen_sysctl_tmem_op op = {
        .cmd = cmd,
        .cli_id = d->domain_id,
    };

    return tmem_control_once(&op);
}

void tmem_domain_resume(struct domain *d)
{
    /* Most were not being saved, which is an error that does not matter. */
    control(d, XEN_SYSCTL_TMEM_OP_SAVE_END);
}

/* Whether domain_soft_reset() will reset a domain, or refuse to. */
static bool will_be_reset(struct domain *d)
{
    const struct vcpu *v;
    bool shut_down = true;

    spin_lock(&d->shutdown_lock);
    for_each_vcpu ( d, v )
        if ( !v->paused_for_shutdown )
            shut_down = false;
    spin_unlock(&d->shutdown_lock);

    return shut_down;
}

long tmem_soft_reset(struct domain *d, bool begins,
                     XEN_GUEST_HANDLE_PARAM(void) u_domctl)
{
    if ( !begins || !will_be_reset(d) ||
         control(d, XEN_SYSCTL_TMEM_OP_DESTROY) != -ERESTART )
        return 0;

    return hypercall_create_continuation(__HYPERVISOR_domctl, "h", u_domctl);
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
