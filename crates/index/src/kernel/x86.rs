//! Kernels for x86-64: 8 lanes with AVX2, 16 with AVX-512.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;

use super::lanes::{Lanes, UNITS};
use super::{Kernels, Variant, table};

/// The AVX2 kernels, if this processor can run them.
pub(super) fn avx2() -> Option<&'static Kernels> {
    static TABLE: Kernels = table!(Variant::Avx2, Avx2, "avx2,fma,f16c,popcnt");
    let has = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("popcnt");
    has.then_some(&TABLE)
}

/// The AVX-512 kernels, if this processor can run them.
pub(super) fn avx512() -> Option<&'static Kernels> {
    static TABLE: Kernels = table!(
        Variant::Avx512,
        Avx512,
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vpopcntdq,fma,f16c,popcnt"
    );
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512vpopcntdq");
    (has && avx2().is_some()).then_some(&TABLE)
}

/// Eight numbers.
#[derive(Clone, Copy)]
struct Avx2(__m256);

// SAFETY of all bodies: `Lanes` demands the instruction set and readable memory of its callers; the loads used take
// any alignment.
impl Lanes for Avx2 {
    const COUNT: usize = 8;
    // Of 16 registers: 2 x 4 sums, 4 for norms, the row's and the query's numbers.
    const GROUP: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn load_f32(at: *const u8) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_loadu_ps(at.cast()) })
    }

    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) })
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> Self {
        // SAFETY: see above.
        Self(unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        })
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sum([a, b, c, d]: [Self; UNITS]) -> f32 {
        // SAFETY: see above.
        unsafe {
            let all = _mm256_add_ps(_mm256_add_ps(a.0, b.0), _mm256_add_ps(c.0, d.0));
            let four = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

/// Sixteen numbers.
#[derive(Clone, Copy)]
struct Avx512(__m512);

/// The lanes below `count`, which is less than 16.
#[inline(always)]
fn below(count: usize) -> __mmask16 {
    (1 << count) - 1
}

// SAFETY of all bodies: as above; masked loads do not touch the memory of lanes outside the mask.
impl Lanes for Avx512 {
    const COUNT: usize = 16;
    // Of 32 registers: 4 x 4 sums, 4 for norms, the rest for what is loaded.
    const GROUP: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn load_f32(at: *const u8) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_loadu_ps(at.cast()) })
    }

    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) })
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> Self {
        // SAFETY: see above.
        Self(unsafe { widen_bf16(_mm256_loadu_si256(at.cast())) })
    }

    #[inline(always)]
    unsafe fn head_f32(at: *const u8, count: usize) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_maskz_loadu_ps(below(count), at.cast()) })
    }

    #[inline(always)]
    unsafe fn head_f16(at: *const u8, count: usize) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(below(count), at.cast())) })
    }

    #[inline(always)]
    unsafe fn head_bf16(at: *const u8, count: usize) -> Self {
        // SAFETY: see above.
        Self(unsafe { widen_bf16(_mm256_maskz_loadu_epi16(below(count), at.cast())) })
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sum([a, b, c, d]: [Self; UNITS]) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a.0, b.0), _mm512_add_ps(c.0, d.0))) }
    }
}

/// bfloat16 is the upper half of float32.
#[inline(always)]
unsafe fn widen_bf16(halves: __m256i) -> __m512 {
    // SAFETY: the caller's, AVX-512 F.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))) }
}
