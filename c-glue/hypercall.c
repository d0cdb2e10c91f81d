/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: the guests' hypercall, and the library's life with
 * CPUs, domains and the heap.
 */

#include <xen/cpu.h>
#include <xen/errno.h>
#include <xen/event.h>
#include <xen/guest_access.h>
#include <xen/hypercall.h>
#include <xen/init.h>
#include <xen/param.h>
#include <xen/percpu.h>
#include <xen/random.h>
#include <xen/sched.h>
#include <xen/tmem.h>
#include <xen/vmap.h>
#include <xsm/xsm.h>

#include "inside.h"

/* How many frames to ask for at once when the heap needs some. */
#define RELINQUISH_BATCH 32

static bool __read_mostly opt_tmem;
boolean_param("tmem", opt_tmem);

static bool __initdata opt_tmem_compress = true;
boolean_param("tmem_compress", opt_tmem_compress);

static bool __initdata opt_tmem_dedup;
boolean_param("tmem_dedup", opt_tmem_dedup);

DEFINE_PER_CPU(bool, tmem_inside);

static DEFINE_PER_CPU(void *, scratch);

void *tmem_host_scratch(void)
{
    return this_cpu(scratch);
}

static int alloc_scratch(unsigned int cpu)
{
    void *memory;

    if ( per_cpu(scratch, cpu) )
        return 0;

    memory = vmalloc(tmem_rs_scratch_size());
    if ( !memory )
        return -ENOMEM;

    if ( !tmem_rs_scratch_init(memory) )
    {
        vfree(memory);
        return -ENOMEM;
    }
    per_cpu(scratch, cpu) = memory;

    return 0;
}

static void free_scratch(unsigned int cpu)
{
    void *memory = per_cpu(scratch, cpu);

    if ( !memory )
        return;

    per_cpu(scratch, cpu) = NULL;
    tmem_rs_scratch_done(memory);
    vfree(memory);
}

static long serve(XEN_GUEST_HANDLE_PARAM(void) arg, bool compat)
{
    /* As struct tmem_op says: 56 bytes, or 52 from a 32-bit guest. */
    char op[56] __aligned(8);
    struct domain *d = current->domain;
    long rc;

    if ( !opt_tmem )
        return -ENODEV;

    rc = xsm_tmem_op(XSM_HOOK);
    if ( rc )
        return rc;

    if ( guest_handle_is_null(arg) ||
         copy_from_guest(op, guest_handle_cast(arg, char), compat ? 52 : 56) )
        return -EFAULT;

    tmem_enter();
    rc = tmem_rs_op(&d->tmem.guest, op, compat);
    tmem_leave();

    if ( rc == -ERESTART )
        rc = hypercall_create_continuation(__HYPERVISOR_tmem_op, "h", arg);

    return rc;
}

long do_tmem_op(XEN_GUEST_HANDLE_PARAM(void) arg)
{
    return serve(arg, false);
}

#ifdef CONFIG_COMPAT
int compat_tmem_op(XEN_GUEST_HANDLE_PARAM(void) arg)
{
    return serve(arg, true);
}
#endif

void tmem_domain_init(struct domain *d)
{
    d->tmem.guest.domain = d;
    d->tmem.guest.domid = d->domain_id;
    d->tmem.guest.vcpus = d->max_vcpus;
}

int tmem_domain_teardown(struct domain *d)
{
    bool done;

    /* From here on, no control operation makes a client or holds on to one. */
    ASSERT(d->is_dying);
    tmem_control_barrier();

    if ( !d->tmem.guest.client )
        return 0;

    tmem_enter();
    done = tmem_rs_client_destroy(&d->tmem.guest);
    tmem_leave();

    return done ? 0 : -ERESTART;
}

static bool relinquish(enum tmem_rs_wait wait)
{
    bool freed;

    /*
     * Interrupts may have come to a CPU that holds a lock of the library, and
     * with them off a wait for one could be a wait for an answer from here.
     */
    if ( !opt_tmem || system_state < SYS_STATE_active || this_cpu(tmem_inside) ||
         in_irq() || !local_irq_is_enabled() )
        return false;

    tmem_enter();
    freed = tmem_rs_relinquish(RELINQUISH_BATCH, wait);
    tmem_leave();

    return freed;
}

void tmem_keep_reserve(void)
{
    if ( opt_tmem && unlikely(tmem_reserve_is_low()) && tmem_cached() )
        relinquish(TMEM_RS_WAIT_NOT);
}

bool tmem_relinquish(void)
{
    return relinquish(TMEM_RS_WAIT_A_LITTLE);
}

uint64_t tmem_freeable(void)
{
    return opt_tmem ? tmem_rs_freeable() : 0;
}

/*
 * Gives back what is missing for that many pages to be free and not claimed,
 * or a part of it, and says whether it makes sense to try again.
 */
static bool make_room(unsigned long pages)
{
    bool freed;

    if ( unclaimed_pages() + tmem_freeable() < pages )
        return false;

    do {
        tmem_yield();
        freed = relinquish(TMEM_RS_WAIT_ALWAYS);
    } while ( freed && unclaimed_pages() < pages && !hypercall_preempt_check() );

    return freed;
}

long tmem_claim_pages(struct domain *d, unsigned long pages, unsigned long cmd,
                      XEN_GUEST_HANDLE_PARAM(void) arg)
{
    long rc = domain_set_outstanding_pages(d, pages);

    if ( rc == -ENOMEM && make_room(pages - domain_tot_pages(d)) )
        rc = hypercall_create_continuation(__HYPERVISOR_memory_op, "lh", cmd,
                                           arg);

    return rc;
}

static int cf_check cpu_callback(
    struct notifier_block *nfb, unsigned long action, void *hcpu)
{
    unsigned int cpu = (unsigned long)hcpu;
    int rc = 0;

    switch ( action )
    {
    case CPU_UP_PREPARE:
        rc = alloc_scratch(cpu);
        break;

    case CPU_UP_CANCELED:
    case CPU_DEAD:
        free_scratch(cpu);
        break;
    }

    /* Of no error it would make a stop, and nobody after this heard of the CPU. */
    return rc ? notifier_from_errno(rc) : NOTIFY_DONE;
}

static struct notifier_block cpu_nfb = {
    .notifier_call = cpu_callback,
};

static int __init cf_check tmem_init(void)
{
    struct tmem_rs_config config = {
        .compress = opt_tmem_compress,
        .dedup = opt_tmem_dedup,
    };
    unsigned int cpu, i;

    if ( !opt_tmem )
        return 0;

    for_each_online_cpu ( cpu )
        if ( alloc_scratch(cpu) )
        {
            printk(XENLOG_ERR "tmem: off, no memory for CPU%u\n", cpu);
            for_each_online_cpu ( cpu )
                free_scratch(cpu);
            opt_tmem = false;
            return -ENOMEM;
        }
    register_cpu_notifier(&cpu_nfb);

    for ( i = 0; i < ARRAY_SIZE(config.seed); i++ )
        config.seed[i] = ((uint64_t)get_random() << 32) | get_random();

    tmem_set_reserve();
    tmem_rs_init(&config);
    tmem_control_init();

    printk(XENLOG_INFO "tmem: on, compression %s, deduplication %s\n",
           config.compress ? "on" : "off", config.dedup ? "on" : "off");

    return 0;
}
__initcall(tmem_init);

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
