/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transcendent memory: the guests' hypercall, and the library's life with
 * CPUs and domains.
 *
 * Who may hold a struct domain for the library, and for how long:
 *
 *   a hypercall        its own domain, which lives while one of its vCPUs runs.
 *   a client           the domain that made it, to charge frames to.  The
 *                      client ends in tmem_domain_teardown(), which completes
 *                      only once nobody can reach the domain through the
 *                      client, and its last frame is uncharged.
 *   a control op       another domain, by rcu_lock_domain_by_id(), under
 *                      control_lock, and only if it is not dying.  Teardown
 *                      waits for that lock first, so no client is made later.
 *   figures, the key   clients, by references of the library's own, for one
 *                      look at each.  Teardown doesn't complete meanwhile.
 *
 * tmem_domain_destroyed() asserts this where the domain is freed.
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
#include <xen/time.h>
#include <xen/tmem.h>
#include <xen/vmap.h>
#include <xsm/xsm.h>
#include <asm/io.h>
#include <asm/p2m.h>

#include "inside.h"

static bool __read_mostly opt_tmem;
static bool __initdata opt_compress = true;
static bool __initdata opt_dedup;
static bool __initdata opt_carried;

static int __init cf_check parse_tmem(const char *s)
{
    const char *ss;
    int val, rc = 0;

    /* Interpret 'tmem' alone in its positive boolean form. */
    if ( *s == '\0' )
        opt_tmem = true;

    do {
        ss = strchr(s, ',');
        if ( !ss )
            ss = strchr(s, '\0');

        if ( (val = parse_bool(s, ss)) >= 0 )
            opt_tmem = val;
        else if ( (val = parse_boolean("compress", s, ss)) >= 0 )
            opt_compress = val;
        else if ( (val = parse_boolean("dedup", s, ss)) >= 0 )
            opt_dedup = val;
        else if ( (val = parse_boolean("carried", s, ss)) >= 0 )
            opt_carried = val;
        else if ( *s )
            rc = -EINVAL;

        s = ss + 1;
    } while ( *ss );

    return rc;
}
custom_param("tmem", parse_tmem);

bool tmem_is_on(void)
{
    return opt_tmem;
}

DEFINE_PER_CPU(bool, tmem_inside);
DEFINE_PER_CPU(uint64_t, tmem_paged_out);

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

/* Size of struct tmem_op, from a 64-bit guest and from a 32-bit one. */
#define OP_SIZE 56
#define COMPAT_OP_SIZE 52

static long serve(XEN_GUEST_HANDLE_PARAM(void) arg, bool compat)
{
    char op[OP_SIZE] __aligned(8);
    struct domain *d = current->domain;
    long rc;

    if ( !opt_tmem )
        return -ENODEV;

    rc = xsm_tmem_op(XSM_HOOK);
    if ( rc )
        return rc;

    if ( guest_handle_is_null(arg) ||
         copy_from_guest(op, guest_handle_cast(arg, char),
                         compat ? COMPAT_OP_SIZE : OP_SIZE) )
        return -EFAULT;

    tmem_enter();
    rc = tmem_rs_op(&d->tmem.guest, op, compat);
    tmem_leave();

#ifdef CONFIG_MEM_PAGING
    if ( unlikely(this_cpu(tmem_paged_out)) )
    {
        gfn_t gfn = _gfn(~this_cpu(tmem_paged_out));

        /* This may sleep, and so go on on another CPU. */
        this_cpu(tmem_paged_out) = 0;
        p2m_mem_paging_populate(d, gfn);
    }
#endif

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

    if ( !done )
        return -ERESTART;

    /* What is left of blocks that its metadata was taken from. */
    while ( tmem_drop_stock() )
        continue;

    return 0;
}

void tmem_domain_destroyed(const struct domain *d)
{
    ASSERT(!d->tmem.guest.client && !domain_tmem_frames(d));
}

long tmem_claim_pages(struct domain *d, unsigned long pages, unsigned long cmd,
                      XEN_GUEST_HANDLE_PARAM(void) arg)
{
    long rc = domain_set_outstanding_pages(d, pages);

    if ( rc == -ENOMEM && tmem_make_room(pages - domain_tot_pages(d)) )
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

    /* notifier_from_errno(0) would keep the event from later notifiers. */
    return rc ? notifier_from_errno(rc) : NOTIFY_DONE;
}

static struct notifier_block cpu_nfb = {
    .notifier_call = cpu_callback,
};

/*
 * A word of the seed that keeps guests from choosing names that collide.
 * get_random() is the time and little more on CPUs without RDRAND, so what
 * reading a port takes is mixed in: it depends on the phases of clocks, and
 * nobody has measured it from inside a guest.
 */
static uint64_t __init random_word(void)
{
    uint64_t word = ((uint64_t)get_random() << 32) | get_random();
    unsigned int i;

    for ( i = 0; i < 256; i++ )
    {
        inb(0x61);
        word = (word ^ get_cycles()) * 0x9e3779b97f4a7c15ULL;
        word ^= word >> 29;
    }

    return word;
}

static int __init cf_check tmem_init(void)
{
    struct tmem_rs_config config = {
        .compress = opt_compress,
        .dedup = opt_dedup,
        .carried = opt_carried,
    };
    unsigned int cpu, i;
    int rc;

    if ( !opt_tmem )
        return 0;

    rc = tmem_frames_init();
    for_each_online_cpu ( cpu )
        rc = rc ?: alloc_scratch(cpu);
    if ( rc )
    {
        printk(XENLOG_ERR "tmem: off, not enough memory\n");
        for_each_online_cpu ( cpu )
            free_scratch(cpu);
        opt_tmem = false;
        return rc;
    }
    register_cpu_notifier(&cpu_nfb);

    for ( i = 0; i < ARRAY_SIZE(config.seed); i++ )
        config.seed[i] = random_word();

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
