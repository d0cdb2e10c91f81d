/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Generated from tmem-xen-shim/src/lib.rs: change that. */

#ifndef __TMEM_RS_H__
#define __TMEM_RS_H__

#include <xen/types.h>

/**
 * What the administrator and chance decide at boot.
 */
struct tmem_rs_config
{
    /**
     * Compress pages.
     */
    bool compress;
    /**
     * Keep equal pages of a client once.
     */
    bool dedup;
    /**
     * 128 bits that guests cannot guess.
     */
    uint64_t seed[2];
};

/**
 * A domain, as tmem knows it. Embedded in `struct domain`, which keeps it for as long as it lives.
 */
struct tmem_rs_guest
{
    /**
     * Tmem's own: NULL at first, and again once the client is destroyed.
     */
    void *client;
    /**
     * The `struct domain`, for `tmem_host_charge`.
     */
    void *domain;
    /**
     * The domain's id.
     */
    uint16_t domid;
    /**
     * Its vCPUs: as many may call at once.
     */
    uint32_t vcpus;
};

/**
 * Bytes of zeroed, page-aligned scratch memory that C keeps for each CPU and `tmem_host_scratch` returns.
 */
size_t tmem_rs_scratch_size(void);

/**
 * Turns tmem on. Called once at boot; until then `tmem_rs_op` returns -ENODEV.
 *
 * # Safety
 * `config` points to a `tmem_rs_config`.
 */
void tmem_rs_init(const struct tmem_rs_config *config);

/**
 * Does what the guest's `struct tmem_op` asks and returns what the guest is to see, or -ERESTART: there is more to do, so
 * C makes a hypercall continuation with the same argument.
 *
 * # Safety
 * `guest` belongs to the current domain and outlives the call; `op` points to a private copy of the guest's structure, 52
 * bytes of it if `compat`, else 56.
 */
int64_t tmem_rs_op(struct tmem_rs_guest *guest,
                   const void *op,
                   bool compat);

/**
 * Takes everything of a dead domain away. False: call again.
 *
 * # Safety
 * `guest` outlives the call, and no other call with it runs meanwhile.
 */
bool tmem_rs_client_destroy(struct tmem_rs_guest *guest);

/**
 * Gives up to `frames` frames of ephemeral pages back to Xen's heap; returns how many.
 */
uint64_t tmem_rs_relinquish(uint64_t frames);

/**
 * How many frames `tmem_rs_relinquish` could give back.
 */
uint64_t tmem_rs_freeable(void);

extern void *tmem_host_alloc_metadata(void);

extern void tmem_host_free_metadata(void *frame);

extern uint64_t tmem_host_alloc_data(void);

extern void tmem_host_free_data(uint64_t mfn);

extern void *tmem_host_map(uint64_t mfn);

extern void tmem_host_unmap(void *bytes);

extern bool tmem_host_charge(void *domain, uint32_t frames);

extern void tmem_host_uncharge(void *domain, uint32_t frames);

extern int tmem_host_copy_in(void *to, uint64_t cmfn);

extern int tmem_host_copy_out(uint64_t cmfn, const void *from);

extern void *tmem_host_scratch(void);

extern uint64_t tmem_host_now(void);

#endif  /* __TMEM_RS_H__ */
