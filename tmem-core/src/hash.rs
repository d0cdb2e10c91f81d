// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keyed hash that places objects and pages.
//!
//! ```text
//! Handle: │ pool │ oid │ index │
//!         └──────┬─────┘   │
//!            SipHash ──────┼──► the object's hash ─┐
//!                          └──────► two folds ◄────┘ ─► the page's hash
//! PageKey: │ handle │ both hashes │ ─► the index
//! ```
//!
//! Guests choose the names that are hashed, so the hash must not let them choose where a page goes. Object names go
//! through SipHash-1-3 (Aumasson and Bernstein, "`SipHash`: a fast short-input PRF", 2012) under a key drawn at boot. A
//! page's hash mixes its object's hash and its index with two multiplications by secret words; an attacker never sees a
//! hash, only how long a call takes.

use crate::names::{Handle, ObjectHandle};

/// What an object is looked up by: its handle and its hash.
#[derive(Clone, Copy)]
pub(crate) struct ObjectKey {
    pub(crate) handle: ObjectHandle,
    pub(crate) hash: u64,
}

/// What a page is looked up by: its handle and its hashes.
#[derive(Clone, Copy)]
pub(crate) struct PageKey {
    pub(crate) object: ObjectKey,
    pub(crate) index: u32,
    pub(crate) hash: u64,
}

/// The hash function of this boot, with its secret.
#[derive(Clone, Copy)]
pub(crate) struct Hasher([u64; 4]);

impl Hasher {
    /// Gives pages with the same words, in any order, the same hash.
    #[cfg(test)]
    pub(crate) const WEAK: Self = Self([0; 4]);

    pub(crate) fn new(seed: [u64; 2]) -> Self {
        let derive = |label| sip13(seed, [label, 0, 0, 0]);
        Self([derive(1), derive(2), derive(3), derive(4)])
    }

    /// Hashes a page's handle, which must name its pool by the pool's number in its store.
    #[inline]
    pub(crate) fn page_key(self, handle: Handle) -> PageKey {
        let object = self.object_key(handle.object());
        PageKey {
            object,
            index: handle.index,
            hash: self.page(object.hash, handle.index),
        }
    }

    /// As [`Hasher::page_key`], for an object.
    #[inline]
    pub(crate) fn object_key(self, handle: ObjectHandle) -> ObjectKey {
        ObjectKey {
            handle,
            hash: self.object(handle),
        }
    }

    /// An object's hash.
    #[inline]
    pub(crate) fn object(self, ObjectHandle { pool, oid }: ObjectHandle) -> u64 {
        sip13(
            [self.0[0], self.0[1]],
            [pool.get().into(), oid.0[0], oid.0[1], oid.0[2]],
        )
    }

    /// A page's hash. It is made from the object's hash, not its record, so that both are known before anything is
    /// looked up.
    #[inline]
    pub(crate) fn page(self, object: u64, index: u32) -> u64 {
        let once = fold(object ^ u64::from(index) ^ self.0[2], self.0[3] | 1);
        fold(once ^ self.0[3], self.0[2] | 1)
    }

    /// The hash of a page's bytes, whole words only. Bytes with equal hashes must still be compared.
    pub(crate) fn bytes(self, bytes: &[u8]) -> u64 {
        let mut hash = self.0[0] ^ bytes.len() as u64;
        for word in bytes.as_chunks::<8>().0 {
            hash = fold(hash ^ u64::from_le_bytes(*word), self.0[1] | 1);
        }
        fold(hash ^ self.0[3], self.0[2] | 1)
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[inline]
fn sip13(key: [u64; 2], words: [u64; 4]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    // SipHash's closing block: the length in bytes, in the top byte.
    let length = 32 << 56;
    v[3] ^= length;
    round(&mut v);
    v[0] ^= length;
    v[2] ^= 0xff;
    round(&mut v);
    round(&mut v);
    round(&mut v);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;

    use super::Hasher;
    use crate::names::{ObjectHandle, Oid, PoolId};

    fn object(pool: u32, oid: [u64; 3]) -> ObjectHandle {
        let pool = PoolId::new(pool).expect("a pool's number");
        ObjectHandle {
            pool,
            oid: Oid(oid),
        }
    }

    /// A bucket of the index takes some 440 entries in 63 lines of 8; a lookup reads one line, and the next if that one
    /// is full. So what a guest could gain by choosing names is a crowd in one bucket, or in one line.
    #[test]
    fn no_pattern_of_names_crowds_a_bucket_or_a_line() {
        const NAMES: u64 = 1 << 16;
        type Pattern = fn(Hasher, u64) -> u64;
        let patterns: [(&str, Pattern); 12] = [
            ("one after the other", |k, i| k.object(object(0, [i, 0, 0]))),
            ("second word", |k, i| k.object(object(0, [7, i, 0]))),
            ("third word", |k, i| k.object(object(0, [7, 7, i]))),
            ("high bits", |k, i| k.object(object(0, [i << 48, 0, 0]))),
            ("words that cancel out", |k, i| {
                k.object(object(0, [i, i, 0]))
            }),
            ("words that add up to the same", |k, i| {
                k.object(object(0, [i, 0u64.wrapping_sub(i), 0]))
            }),
            ("pools", |k, i| {
                k.object(object(i as u32 & 15, [i >> 4, 0, 0]))
            }),
            ("indexes", |k, i| {
                k.page(k.object(object(0, [0; 3])), i as u32)
            }),
            ("high bits of the index", |k, i| {
                k.page(k.object(object(0, [0; 3])), (i << 16) as u32)
            }),
            ("indexes from the top", |k, i| {
                k.page(k.object(object(0, [0; 3])), !(i as u32))
            }),
            ("bits of the index in reverse", |k, i| {
                k.page(k.object(object(0, [0; 3])), (i as u32).reverse_bits())
            }),
            ("index and object together", |k, i| {
                k.page(k.object(object(0, [i, 0, 0])), i as u32)
            }),
        ];
        for seed in [[0, 0], [1, 2], [u64::MAX; 2], [0x1234_5678, 1 << 63]] {
            let key = Hasher::new(seed);
            for (name, pattern) in patterns {
                let mut buckets = [0u32; 256];
                let mut lines = std::vec![0u32; 256 * 63];
                for i in 0..NAMES {
                    let hash = pattern(key, i);
                    let bucket = hash as usize % 256;
                    buckets[bucket] += 1;
                    lines[bucket * 63 + crate::index::bucket::home(hash as u32)] += 1;
                }
                // On average a bucket gets 256 names and a line 4. By chance alone the fullest have about 320 and 16.
                let (fullest, line) = (buckets.iter().max(), lines.iter().max());
                assert!(
                    fullest < Some(&340),
                    "{name}, {seed:x?}: {fullest:?} in a bucket"
                );
                assert!(line < Some(&20), "{name}, {seed:x?}: {line:?} in a line");
            }
        }
    }

    #[test]
    fn known_names_have_known_hashes() {
        let names = |k: Hasher| {
            let object = k.object(object(3, [4, 5, 6]));
            let page = k.page(object, 7);
            [object, page, k.bytes(b"sixteen bytes...")]
        };
        let key = Hasher([
            0x0011_2233_4455_6677,
            0x8899_aabb_ccdd_eeff,
            0x0f1e_2d3c_4b5a_6978,
            0x8796_a5b4_c3d2_e1f0,
        ]);
        // From an independent implementation in Python.
        assert_eq!(
            names(key),
            [
                0x0f74_a777_0b5e_cd73,
                0x5294_4531_d17d_d75c,
                0xeaf3_b954_bb8c_9c88
            ]
        );
    }

    #[test]
    fn agrees_with_the_standard_library() {
        // std's DefaultHasher is SipHash-1-3 under the zero key.
        let words = [1u64, 2, u64::MAX, 0x0123_4567_89ab_cdef];
        let mut theirs = std::collections::hash_map::DefaultHasher::new();
        for word in words {
            theirs.write(&word.to_le_bytes());
        }
        assert_eq!(super::sip13([0, 0], words), theirs.finish());
    }
}
