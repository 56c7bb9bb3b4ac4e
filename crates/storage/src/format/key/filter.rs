//! A filter over the keys of a file: a binary fuse filter of 8 bits (Graf and Lemire, "Binary Fuse Filters: Fast and
//! Smaller Than Xor Filters", 2022). About 9 bits a key, one false positive in 256; a question reads three bytes.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | kind: 1 = binary fuse, 0 = none could be built, everything may be contained |
//! | 4 | segment length, a power of two |
//! | 4 | number of segments in which the first of the three bytes may lie |
//! | 4 | zero |
//! | 8 | seed |
//! | .. | fingerprints: (segments + 2) x segment length bytes |
//!
//! The hash of a key is XXH3-64 with seed [`KEY_HASH_SEED`] over its 8 little-endian bytes or its UTF-8 bytes, which the
//! filter mixes with its own seed: `murmur64(hash + seed)`.

use bytes::Bytes;
use redkite_types::Key;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::sorted::KeyRef;
use crate::format::little_endian::{u32_at, u64_at};
use crate::{Error, Result};

/// Seed of the hash of every key; part of the format. The letters "Redkite1".
pub const KEY_HASH_SEED: u64 = 0x5265_646B_6974_6531;

const KIND_NONE: u32 = 0;
const KIND_FUSE8: u32 = 1;
const HEADER_BYTES: usize = 24;
/// Positions per key.
const ARITY: u32 = 3;
/// Longer segments do not get denser, only worse for the cache.
const SEGMENT_LENGTH_MAX: u32 = 1 << 18;
/// A seed fails with a probability of well under one half; after this many failures there is no filter.
const SEEDS_MAX: u64 = 100;

/// The hash of a key that filters are made of.
pub(super) fn key_hash(key: KeyRef<'_>) -> u64 {
    match key {
        KeyRef::Int(key) => xxh3_64_with_seed(&key.to_le_bytes(), KEY_HASH_SEED),
        KeyRef::Text(key) => xxh3_64_with_seed(key, KEY_HASH_SEED),
    }
}

/// Says which keys are certainly not in a file.
#[derive(Debug, Clone)]
pub struct KeyFilter {
    /// None: everything may be contained.
    shape: Option<Shape>,
    seed: u64,
    fingerprints: Bytes,
}

impl KeyFilter {
    /// The filter in `bytes`, a section whose checksum the caller has verified; `path` is what errors call the file.
    pub fn parse(bytes: Bytes, path: &str) -> Result<Self> {
        Self::decode(bytes).ok_or_else(|| Error::corrupt(path, "the key filter does not fit"))
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let (kind, seed) = (u32_at(&bytes, 0)?, u64_at(&bytes, 16)?);
        let fingerprints = bytes.slice(HEADER_BYTES..);
        if kind == KIND_NONE {
            return Some(Self { shape: None, seed, fingerprints });
        }
        let shape = Shape { segment_length: u32_at(&bytes, 4)?, segments: u32_at(&bytes, 8)? };
        let fits = kind == KIND_FUSE8
            && shape.segment_length.is_power_of_two()
            && shape.segments > 0
            && shape.slots()? == fingerprints.len();
        fits.then_some(Self { shape: Some(shape), seed, fingerprints })
    }

    /// Whether the file may hold `key`: false is certain, true is wrong for one absent key in 256.
    pub fn may_contain(&self, key: &Key) -> bool {
        self.may_contain_hash(key_hash(KeyRef::from(key)))
    }

    /// Bytes the filter takes.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.fingerprints.len()
    }

    fn may_contain_hash(&self, hash: u64) -> bool {
        let Some(shape) = self.shape else { return true };
        let hash = mix(hash, self.seed);
        let xor = shape.slots_of(hash).iter().fold(fingerprint(hash), |xor, slot| xor ^ self.fingerprints[*slot]);
        xor == 0
    }
}

/// The section for keys of these hashes, repetitions allowed.
pub(super) fn encode_filter(mut hashes: Vec<u64>) -> Vec<u8> {
    hashes.sort_unstable();
    hashes.dedup();
    let shape = Shape::for_keys(hashes.len());
    let built = (0..SEEDS_MAX).find_map(|attempt| {
        let seed = mix(attempt, KEY_HASH_SEED);
        shape.and_then(|shape| Some((shape, seed, build(&hashes, shape, seed)?)))
    });
    let (kind, shape, seed, fingerprints) = match built {
        Some((shape, seed, fingerprints)) => (KIND_FUSE8, shape, seed, fingerprints),
        None => (KIND_NONE, Shape { segment_length: 0, segments: 0 }, 0, Vec::new()),
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + fingerprints.len());
    for word in [kind, shape.segment_length, shape.segments, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&seed.to_le_bytes());
    bytes.extend_from_slice(&fingerprints);
    bytes
}

/// How the fingerprints are divided: a key has one byte in each of three consecutive segments.
#[derive(Debug, Clone, Copy)]
struct Shape {
    segment_length: u32,
    segments: u32,
}

impl Shape {
    /// The shape for so many distinct keys, by the paper's formulas; none for more than fit a file.
    fn for_keys(keys: usize) -> Option<Shape> {
        let count = (keys.max(1)) as f64;
        let exponent = (count.ln() / 3.33_f64.ln() + 2.25).floor() as u32;
        let segment_length = 1_u32.checked_shl(exponent)?.min(SEGMENT_LENGTH_MAX);
        let per_key = if keys <= 1 { 0.0 } else { (0.875 + 0.25 * 1e6_f64.ln() / count.ln()).max(1.125) };
        let capacity = (count * per_key).round() as u64;
        let segments = capacity.div_ceil(u64::from(segment_length)).saturating_sub(u64::from(ARITY) - 1).max(1);
        Some(Shape { segment_length, segments: u32::try_from(segments).ok()? })
    }

    /// Number of fingerprints; none on overflow.
    fn slots(self) -> Option<usize> {
        (self.segments as usize).checked_add(ARITY as usize - 1)?.checked_mul(self.segment_length as usize)
    }

    /// The three positions of a key.
    fn slots_of(self, hash: u64) -> [usize; 3] {
        let first_slots = u64::from(self.segments) * u64::from(self.segment_length);
        let first = ((u128::from(hash) * u128::from(first_slots)) >> 64) as u64;
        let (length, mask) = (u64::from(self.segment_length), u64::from(self.segment_length) - 1);
        let second = (first + length) ^ ((hash >> 18) & mask);
        let third = (first + 2 * length) ^ (hash & mask);
        [first as usize, second as usize, third as usize]
    }
}

/// A position while the filter is built: which keys lie on it, folded together.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Exclusive or of the hashes.
    hash: u64,
    /// How many.
    count: u32,
    /// Exclusive or of which of their three positions this is.
    position: u8,
}

/// Peels keys off positions that hold one key only, then assigns fingerprints in reverse; none if that gets stuck.
fn build(hashes: &[u64], shape: Shape, seed: u64) -> Option<Vec<u8>> {
    let mut slots = vec![Slot::default(); shape.slots()?];
    for hash in hashes.iter().map(|hash| mix(*hash, seed)) {
        for (position, slot) in shape.slots_of(hash).into_iter().enumerate() {
            let slot = &mut slots[slot];
            slot.hash ^= hash;
            slot.count += 1;
            slot.position ^= position as u8;
        }
    }
    let mut single: Vec<usize> = (0..slots.len()).filter(|slot| slots[*slot].count == 1).collect();
    let mut peeled = Vec::with_capacity(hashes.len());
    while let Some(slot) = single.pop() {
        let Slot { hash, count, position } = slots[slot];
        if count != 1 {
            continue;
        }
        peeled.push((hash, position));
        for (position, slot) in shape.slots_of(hash).into_iter().enumerate() {
            let entry = &mut slots[slot];
            entry.hash ^= hash;
            entry.count -= 1;
            entry.position ^= position as u8;
            if entry.count == 1 {
                single.push(slot);
            }
        }
    }
    if peeled.len() != hashes.len() {
        return None;
    }
    let mut fingerprints = vec![0; slots.len()];
    for (hash, position) in peeled.into_iter().rev() {
        let positions = shape.slots_of(hash);
        // The byte at `position` is still zero: it is assigned once, here.
        let xor = positions.iter().fold(fingerprint(hash), |xor, slot| xor ^ fingerprints[*slot]);
        fingerprints[positions[position as usize]] = xor;
    }
    Some(fingerprints)
}

/// The finalizer of MurmurHash3 over hash + seed.
fn mix(hash: u64, seed: u64) -> u64 {
    let mut hash = hash.wrapping_add(seed);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

fn fingerprint(hash: u64) -> u8 {
    (hash ^ (hash >> 32)) as u8
}
