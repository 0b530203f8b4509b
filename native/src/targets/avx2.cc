// AVX2 and FMA: 8 floats, or 4 doubles, at a time; a tile of 3 rows x 4 vectors in 12 of 16
// registers.
#define CONVEYOR_TARGET_NAMESPACE avx2
#include <immintrin.h>

#include "cpu.h"
#include "kernels/engine.h"
#include "targets/plain.h"

namespace conveyor {
namespace avx2 {

struct Floats {
  using T = float;
  using reg = __m256;
  static constexpr int L = 8;
  static constexpr bool kTransposes = false;
  static constexpr int kRows = 3, kColumns = 4, kRegisters = 16;

  static inline void keep(reg& a) { asm("" : "+x"(a)); }
  static inline reg zero() { return _mm256_setzero_ps(); }
  static inline reg set1(float a) { return _mm256_set1_ps(a); }
  static inline reg load(const float* from) { return _mm256_loadu_ps(from); }
  static inline void store(float* to, reg a) { _mm256_storeu_ps(to, a); }
  static inline __m256i mask(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static inline reg load_n(const float* from, int count) {
    return _mm256_maskload_ps(from, mask(count));
  }
  static inline void store_n(float* to, reg a, int count) {
    _mm256_maskstore_ps(to, mask(count), a);
  }
  static inline void prefetch(const void* at) { __builtin_prefetch(at); }
  static inline void prefetch_write(const void* at) { __builtin_prefetch(at, 1); }

  static inline reg add(reg a, reg b) { return _mm256_add_ps(a, b); }
  static inline reg sub(reg a, reg b) { return _mm256_sub_ps(a, b); }
  static inline reg mul(reg a, reg b) { return _mm256_mul_ps(a, b); }
  static inline reg div(reg a, reg b) { return _mm256_div_ps(a, b); }
  static inline reg neg(reg a) { return _mm256_xor_ps(a, set1(-0.0f)); }
  static inline reg inverse(reg a) { return _mm256_div_ps(set1(1), a); }
  static inline reg fma(reg a, reg b, reg c) { return _mm256_fmadd_ps(a, b, c); }
  static inline reg max(reg a, reg b) { return _mm256_max_ps(a, b); }
  static inline reg min(reg a, reg b) { return _mm256_min_ps(a, b); }
  static inline reg positive(reg a) {
    const reg one = _mm256_and_ps(_mm256_cmp_ps(a, zero(), _CMP_GT_OQ), set1(1));
    return _mm256_blendv_ps(one, a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  }
  static inline reg select(reg condition, reg a, reg b) {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(condition, zero(), _CMP_GT_OQ));
  }
  static inline unsigned greater(reg a, reg b) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
  }
  static inline reg first(reg a, int count) {
    return _mm256_and_ps(a, _mm256_castsi256_ps(mask(count)));
  }
  static inline reg round(reg a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static inline reg bounded(reg y) { return max(set1(-126), y); }
  static inline reg fraction(reg y) { return sub(y, _mm256_floor_ps(y)); }
  static inline reg offset(reg y, reg n) { return sub(y, n); }
  static inline reg scale(reg q, reg y) {
    const __m256i n = _mm256_cvtps_epi32(_mm256_floor_ps(y));
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23);
    return mul(q, _mm256_castsi256_ps(power));
  }
  template <class F>
  static inline reg map(reg a, F f) {
    alignas(32) float v[L];
    _mm256_store_ps(v, a);
    for (float& each : v) each = static_cast<float>(f(each));
    return _mm256_load_ps(v);
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
      alignas(16) bfloat16 some[L] = {};
      if (count != L) {
        for (int n = 0; n < count; ++n) some[n] = from[n];
        from = some;
      }
      const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    static inline void store(bfloat16* to, reg a, int count) {
      alignas(32) float v[L];
      _mm256_store_ps(v, a);
      for (int n = 0; n < count; ++n) to[n] = to_bfloat16(v[n]);
    }
    static inline reg round(reg a) {
      return map(a, [](float v) { return to_float(to_bfloat16(v)); });
    }
  };
};

}  // namespace avx2

using Avx2Engine = avx2::Engine<avx2::Floats, avx2::Plain<double, 4>>;
extern const Target avx2_target = {"avx2", avx2_missing, Avx2Engine::forward,
                                   Avx2Engine::backward, Avx2Engine::stream, Avx2Engine::cross_entropy,
                                   Avx2Engine::top_k, Avx2Engine::gru_forward, Avx2Engine::gru_backward,
                                   Avx2Engine::gru_stream};

}  // namespace conveyor
