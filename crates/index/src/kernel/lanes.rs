//! A register of float32 numbers: what the float kernels are written in, and its plain implementation.
//!
//! The methods of an implementation compile to single instructions, provided they end up inlined in a function compiled
//! for the instruction set. Hence `inline(always)` everywhere, and hence `unsafe`: calling one elsewhere executes
//! instructions the processor may not have.

use std::ptr;

use super::{Kernels, Variant, table};

/// Registers that add side by side, so that an addition need not wait for the one before it.
pub(super) const UNITS: usize = 4;

/// A register of [`Lanes::COUNT`] float32 numbers.
///
/// Safety of all methods: the processor has the implementation's instruction set. Loads read from any alignment: the
/// plain ones `COUNT` stored numbers, a `head` the first `count < COUNT` of them, the other lanes being zero.
pub(super) trait Lanes: Copy {
    /// Numbers in a register. At most 16.
    const COUNT: usize;
    /// Queries that share one load of the row: as many as the processor has registers for.
    const GROUP: usize;

    unsafe fn zero() -> Self;
    unsafe fn load_f32(at: *const u8) -> Self;
    unsafe fn load_f16(at: *const u8) -> Self;
    unsafe fn load_bf16(at: *const u8) -> Self;

    #[inline(always)]
    unsafe fn head_f32(at: *const u8, count: usize) -> Self {
        // SAFETY: the copy holds as many numbers as a register.
        unsafe { Self::load_f32(padded(at, count * 4).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn head_f16(at: *const u8, count: usize) -> Self {
        // SAFETY: as above.
        unsafe { Self::load_f16(padded(at, count * 2).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn head_bf16(at: *const u8, count: usize) -> Self {
        // SAFETY: as above.
        unsafe { Self::load_bf16(padded(at, count * 2).as_ptr()) }
    }

    /// `self + a * b`
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// `self - other`
    unsafe fn minus(self, other: Self) -> Self;
    /// The sum of all numbers of all units.
    unsafe fn sum(units: [Self; UNITS]) -> f32;
}

/// The first `bytes` of 64, the others zero.
#[inline(always)]
unsafe fn padded(at: *const u8, bytes: usize) -> [u8; 64] {
    let mut padded = [0; 64];
    // SAFETY: the caller can read `bytes` at `at`; fewer than 16 numbers of at most 4 bytes fit.
    unsafe { ptr::copy_nonoverlapping(at, padded.as_mut_ptr(), bytes) };
    padded
}

/// Four numbers and plain arithmetic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain([f32; 4]);

impl Plain {
    #[inline(always)]
    fn zip(self, other: Self, with: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| with(self.0[lane], other.0[lane])))
    }
}

impl Lanes for Plain {
    const COUNT: usize = 4;
    const GROUP: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    unsafe fn load_f32(at: *const u8) -> Self {
        // SAFETY: the caller can read 16 bytes.
        Self(unsafe { ptr::read_unaligned(at.cast()) })
    }

    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> Self {
        // SAFETY: the caller can read 8 bytes.
        Self(unsafe { ptr::read_unaligned(at.cast::<[u16; 4]>()) }.map(widen_f16))
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> Self {
        // SAFETY: the caller can read 8 bytes.
        let halves = unsafe { ptr::read_unaligned(at.cast::<[u16; 4]>()) };
        Self(halves.map(|half| f32::from_bits(u32::from(half) << 16)))
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // Not `mul_add`: without the instruction that is a library call.
        self.zip(a.zip(b, |a, b| a * b), |sum, product| sum + product)
    }

    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn sum([a, b, c, d]: [Self; UNITS]) -> f32 {
        let add = |a, b| a + b;
        let Self([w, x, y, z]) = a.zip(b, add).zip(c.zip(d, add), add);
        (w + y) + (x + z)
    }
}

/// A float16 number, exactly, without branches.
#[inline(always)]
pub(super) fn widen_f16(half: u16) -> f32 {
    const EXPONENT_DIFFERENCE: f32 = f32::from_bits((127 + 112) << 23);
    const INFINITE: u32 = 0x7c00 << 13;
    let magnitude = u32::from(half & 0x7fff) << 13;
    let scaled = f32::from_bits(magnitude) * EXPONENT_DIFFERENCE;
    let not_finite = if magnitude >= INFINITE { 0xff << 23 } else { 0 };
    f32::from_bits(scaled.to_bits() | not_finite | u32::from(half & 0x8000) << 16)
}

/// Kernels for any processor.
pub(super) static TABLE: Kernels = table!(Variant::Scalar, Plain);
