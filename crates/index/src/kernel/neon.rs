//! Kernels for 64-bit ARM, whose baseline includes NEON: 4 lanes, fused multiply and add.

use std::arch::aarch64::*;

use super::lanes::{Lanes, UNITS, widen_f16};
use super::{Kernels, Variant, table};

/// The NEON kernels.
pub(super) static TABLE: Kernels = table!(Variant::Neon, Neon, "neon");

/// Four numbers.
#[derive(Clone, Copy)]
struct Neon(float32x4_t);

// SAFETY of all bodies: NEON is part of the architecture; `Lanes` demands readable memory of its callers, and the loads
// used take any alignment.
impl Lanes for Neon {
    const COUNT: usize = 4;
    // Of 32 registers: 4 x 4 sums, 4 for norms, the rest for what is loaded.
    const GROUP: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        Self(unsafe { vdupq_n_f32(0.0) })
    }

    #[inline(always)]
    unsafe fn load_f32(at: *const u8) -> Self {
        // SAFETY: see above.
        Self(unsafe { vreinterpretq_f32_u8(vld1q_u8(at)) })
    }

    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> Self {
        // SAFETY: see above. The compiler vectorises the plain conversion; the instruction's intrinsic is unstable.
        unsafe {
            let halves: [u16; 4] = std::ptr::read_unaligned(at.cast());
            Self(vld1q_f32(halves.map(widen_f16).as_ptr()))
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> Self {
        // SAFETY: see above.
        unsafe {
            let halves = vreinterpret_u16_u8(vld1_u8(at));
            Self(vreinterpretq_f32_u32(vshll_n_u16::<16>(halves)))
        }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vfmaq_f32(self.0, a.0, b.0) })
    }

    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sum([a, b, c, d]: [Self; UNITS]) -> f32 {
        // SAFETY: see above.
        unsafe { vaddvq_f32(vaddq_f32(vaddq_f32(a.0, b.0), vaddq_f32(c.0, d.0))) }
    }
}
