/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The Rust library returns through Xen's thunk, which Xen patches where a CPU
 * wants more than a plain return.  A Xen without such a thunk has nothing to
 * patch, and this one is that return.
 */
        .file __FILE__

        .text

        .globl __x86_return_thunk
        .hidden __x86_return_thunk
        .type __x86_return_thunk, @function
__x86_return_thunk:
        ret
        int3
        .size __x86_return_thunk, . - __x86_return_thunk
