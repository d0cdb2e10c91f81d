/* SPDX-License-Identifier: MIT */
/*
 * XEN_SYSCTL_tmem_op, which public/sysctl.h includes.
 *
 * Transcendent memory, if the hypervisor has it (else -ENOSYS) and it is on
 * (else -ENODEV).  Pool ids, object ids and page indexes are those of
 * public/tmem.h.
 */
#ifndef __XEN_PUBLIC_TMEM_SYSCTL_H__
#define __XEN_PUBLIC_TMEM_SYSCTL_H__

#define XEN_SYSCTL_TMEM_OP_ALL_CLIENTS 0xffffU

#define XEN_SYSCTL_TMEM_OP_THAW                   0
#define XEN_SYSCTL_TMEM_OP_FREEZE                 1
/* Give back up to arg KiB; returns how many.  0: there is no more. */
#define XEN_SYSCTL_TMEM_OP_FLUSH                  2
/* Destroy all pools. */
#define XEN_SYSCTL_TMEM_OP_DESTROY                3
/*
 * Text: lines of X=key:value,... and a zero byte.  arg: with every key.
 * Returns the length of all there is to say, though it may not fit.
 */
#define XEN_SYSCTL_TMEM_OP_LIST                   4
/* xen_tmem_client_t. */
#define XEN_SYSCTL_TMEM_OP_GET_CLIENT_INFO        5
#define XEN_SYSCTL_TMEM_OP_SET_CLIENT_INFO        6
/* Arrays of xen_tmem_pool_info_t; return how many. */
#define XEN_SYSCTL_TMEM_OP_GET_POOLS              7
/* Returns how many MiB a flush could give back. */
#define XEN_SYSCTL_TMEM_OP_QUERY_FREEABLE_MB      8
#define XEN_SYSCTL_TMEM_OP_SET_POOLS              9
/* arg: the client goes on to run. */
#define XEN_SYSCTL_TMEM_OP_SAVE_BEGIN             10
/* An array of xen_tmem_pool_info_t. */
#define XEN_SYSCTL_TMEM_OP_SET_AUTH               11
/* struct tmem_handle and a page; returns 1, or 0 after the last one. */
#define XEN_SYSCTL_TMEM_OP_SAVE_GET_NEXT_PAGE     19
/* struct tmem_handle; returns 1, or 0 after the last one. */
#define XEN_SYSCTL_TMEM_OP_SAVE_GET_NEXT_INV      20
#define XEN_SYSCTL_TMEM_OP_SAVE_END               21
#define XEN_SYSCTL_TMEM_OP_RESTORE_BEGIN          30
/* arg: the page's index. */
#define XEN_SYSCTL_TMEM_OP_RESTORE_PUT_PAGE       32
#define XEN_SYSCTL_TMEM_OP_RESTORE_FLUSH_PAGE     33
/* uint64_t: most frames of persistent pages; all ones: as max_pages allows. */
#define XEN_SYSCTL_TMEM_OP_GET_CAP                40
#define XEN_SYSCTL_TMEM_OP_SET_CAP                41
/* uint64_t: frames of persistent pages that max_pages does not limit. */
#define XEN_SYSCTL_TMEM_OP_GET_QUOTA              42
#define XEN_SYSCTL_TMEM_OP_SET_QUOTA              43
/*
 * Array of xen_tmem_pool_info_t, one for each shared pool that SET_AUTH
 * allowed; returns how many.
 */
#define XEN_SYSCTL_TMEM_OP_GET_AUTH               44

struct tmem_handle {
    uint32_t pool_id;
    uint32_t index;
    uint64_aligned_t oid[3];
};

struct xen_tmem_client {
    uint32_t version;   /* 1 */
    uint32_t maxpools;  /* 16 */
    uint32_t nr_pools;  /* OUT */
#define XEN_TMEM_CLIENT_FROZEN    (1u << 0)
#define XEN_TMEM_CLIENT_COMPRESS  (1u << 1)
#define XEN_TMEM_CLIENT_MIGRATING (1u << 2) /* OUT: is being saved */
    uint32_t flags;
    uint32_t weight;    /* 0: none is set */
};
typedef struct xen_tmem_client xen_tmem_client_t;
DEFINE_XEN_GUEST_HANDLE(xen_tmem_client_t);

struct xen_tmem_pool_info {
#define XEN_TMEM_POOL_INFO_PERSIST (1u << 0)
#define XEN_TMEM_POOL_INFO_SHARED  (1u << 1)
#define XEN_TMEM_POOL_INFO_AUTH    (1u << 2) /* SET_AUTH: may; else may not */
#define XEN_TMEM_POOL_INFO_VERSION_SHIFT 24
    uint32_t flags;
    uint32_t id;
    uint64_aligned_t n_pages; /* OUT; IN must be 0 */
    uint64_aligned_t uuid[2];
};
typedef struct xen_tmem_pool_info xen_tmem_pool_info_t;
DEFINE_XEN_GUEST_HANDLE(xen_tmem_pool_info_t);

struct xen_sysctl_tmem_op {
    uint32_t cmd;       /* IN: XEN_SYSCTL_TMEM_OP_* */
    int32_t pool_id;    /* IN: of a page */
    uint32_t cli_id;    /* IN: a domain id or XEN_SYSCTL_TMEM_OP_ALL_CLIENTS */
    uint32_t len;       /* IN: size of buf in bytes */
    uint32_t arg;       /* IN: depends on cmd */
    uint32_t pad;       /* IN: must be 0 */
    uint64_aligned_t oid[3]; /* IN: of a page */
    XEN_GUEST_HANDLE_64(char) buf; /* IN/OUT */
};

#endif /* __XEN_PUBLIC_TMEM_SYSCTL_H__ */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
