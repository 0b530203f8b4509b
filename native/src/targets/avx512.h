// 16 floats in an AVX-512 register.
#pragma once

#include <immintrin.h>

#include "real.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

struct Floats {
  using T = float;
  using reg = __m512;
  static constexpr int L = 16;
  static constexpr bool kTransposes = true;
  static constexpr int kRows = 6, kColumns = 4, kRegisters = 32;

  static inline void keep(reg& a) { asm("" : "+v"(a)); }
  static inline reg zero() { return _mm512_setzero_ps(); }
  static inline reg set1(float a) { return _mm512_set1_ps(a); }
  static inline reg load(const float* from) { return _mm512_loadu_ps(from); }
  static inline void store(float* to, reg a) { _mm512_storeu_ps(to, a); }
  static inline __mmask16 mask(int count) { return static_cast<__mmask16>((1u << count) - 1); }
  static inline reg load_n(const float* from, int count) {
    return _mm512_maskz_loadu_ps(mask(count), from);
  }
  static inline void store_n(float* to, reg a, int count) {
    _mm512_mask_storeu_ps(to, mask(count), a);
  }
  static inline void prefetch(const void* at) { __builtin_prefetch(at); }
  static inline void prefetch_write(const void* at) { __builtin_prefetch(at, 1); }

  static inline reg add(reg a, reg b) { return _mm512_add_ps(a, b); }
  static inline reg sub(reg a, reg b) { return _mm512_sub_ps(a, b); }
  static inline reg mul(reg a, reg b) { return _mm512_mul_ps(a, b); }
  static inline reg div(reg a, reg b) { return _mm512_div_ps(a, b); }
  static inline reg neg(reg a) { return _mm512_xor_ps(a, set1(-0.0f)); }
  // 14 bits, and one step of Newton's method: within an ulp or two of 1 / a.
  static inline reg inverse(reg a) {
    const reg guess = _mm512_rcp14_ps(a);
    return _mm512_fmadd_ps(guess, _mm512_fnmadd_ps(a, guess, set1(1)), guess);
  }
  static inline reg fma(reg a, reg b, reg c) { return _mm512_fmadd_ps(a, b, c); }
  static inline reg max(reg a, reg b) { return _mm512_max_ps(a, b); }
  static inline reg min(reg a, reg b) { return _mm512_min_ps(a, b); }
  static inline reg positive(reg a) {
    const reg one = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, zero(), _CMP_GT_OQ), set1(1));
    return _mm512_mask_mov_ps(one, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
  }
  static inline reg select(reg condition, reg a, reg b) {
    return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(condition, zero(), _CMP_GT_OQ), a);
  }
  static inline unsigned greater(reg a, reg b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
  }
  static inline reg first(reg a, int count) { return _mm512_maskz_mov_ps(mask(count), a); }
  static inline reg round(reg a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static inline reg bounded(reg y) { return y; }
  static inline reg fraction(reg y) {
    return _mm512_reduce_ps(y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  static inline reg offset(reg y, reg) {
    return _mm512_reduce_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static inline reg scale(reg q, reg y) { return _mm512_scalef_ps(q, y); }
  // 16 x 16: pairs within quarters, quarters within halves, halves.
  static inline void transpose(reg (&r)[L]) {
    reg a[L], b[L];
    for (int n = 0; n < L; n += 2) {
      a[n] = _mm512_unpacklo_ps(r[n], r[n + 1]);
      a[n + 1] = _mm512_unpackhi_ps(r[n], r[n + 1]);
    }
    for (int n = 0; n < L; n += 4) {
      b[n] = unpack_low(a[n], a[n + 2]);
      b[n + 1] = unpack_high(a[n], a[n + 2]);
      b[n + 2] = unpack_low(a[n + 1], a[n + 3]);
      b[n + 3] = unpack_high(a[n + 1], a[n + 3]);
    }
    for (int n = 0; n < 4; ++n) {
      a[n] = _mm512_shuffle_f32x4(b[n], b[n + 4], 0x88);
      a[n + 4] = _mm512_shuffle_f32x4(b[n], b[n + 4], 0xdd);
      a[n + 8] = _mm512_shuffle_f32x4(b[n + 8], b[n + 12], 0x88);
      a[n + 12] = _mm512_shuffle_f32x4(b[n + 8], b[n + 12], 0xdd);
    }
    for (int n = 0; n < 4; ++n) {
      r[n] = _mm512_shuffle_f32x4(a[n], a[n + 8], 0x88);
      r[n + 8] = _mm512_shuffle_f32x4(a[n], a[n + 8], 0xdd);
      r[n + 4] = _mm512_shuffle_f32x4(a[n + 4], a[n + 12], 0x88);
      r[n + 12] = _mm512_shuffle_f32x4(a[n + 4], a[n + 12], 0xdd);
    }
  }
  static inline reg unpack_low(reg a, reg b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static inline reg unpack_high(reg a, reg b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  template <class F>
  static inline reg map(reg a, F f) {
    alignas(64) float v[L];
    _mm512_store_ps(v, a);
    for (float& each : v) each = static_cast<float>(f(each));
    return _mm512_load_ps(v);
  }

  // What products read: A holds kPair neighbours along the summed axis.
  using A = T;
  static constexpr int kPair = 1;
  static inline reg broadcast(const A* from) { return set1(*from); }
  static inline reg weights(const A* from) { return load(from); }
  static inline reg dot(reg a, reg w, reg sum) { return fma(a, w, sum); }

  template <class Real, class = void>
  struct Io {
    static inline reg load(const float* from, int count) {
      return count == L ? Floats::load(from) : load_n(from, count);
    }
    static inline void store(float* to, reg a, int count) {
      count == L ? Floats::store(to, a) : store_n(to, a, count);
    }
    static inline reg round(reg a) { return a; }
  };
  template <class Unused>
  struct Io<bfloat16, Unused> {
    static inline reg load(const bfloat16* from, int count) {
      const __m256i bits = _mm256_maskz_loadu_epi16(mask(count), from);
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    static inline __m512i rounded(reg a) {
      const __m512i bits = _mm512_castps_si512(a);
      const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
      const __m512i up =
          _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
      const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
      return _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x400000));
    }
    static inline void store(bfloat16* to, reg a, int count) {
      const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(a), 16));
      _mm256_mask_storeu_epi16(to, mask(count), half);
    }
    static inline reg round(reg a) {
      const __m512i high = _mm512_and_si512(rounded(a), _mm512_set1_epi32(~0xffff));
      return _mm512_castsi512_ps(high);
    }
  };
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
