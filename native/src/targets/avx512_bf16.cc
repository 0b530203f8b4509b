// AVX512_BF16: for bfloat16, products of pairs, summed in float32; all else as AVX-512 does it.
#define CONVEYOR_TARGET_NAMESPACE avx512_bf16
#include "cpu.h"
#include "kernels/engine.h"
#include "stages.h"
#include "targets/avx512.h"

namespace conveyor {
namespace avx512_bf16 {

struct Pairs : Floats {
  using A = uint32_t;  // two bfloat16, the first in the lower half
  static constexpr int kPair = 2;

  static inline reg broadcast(const A* from) {
    A pair;
    std::memcpy(&pair, from, sizeof pair);  // rows of callers are aligned to one bfloat16
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(pair)));
  }
  static inline reg weights(const A* from) {
    return _mm512_castsi512_ps(_mm512_loadu_si512(from));
  }
  static inline reg dot(reg a, reg w, reg sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(w));
  }

  static inline void store_pairs(A* to, reg first, reg second) {
    const __m512i low = _mm512_srli_epi32(Io<bfloat16>::rounded(first), 16);
    const __m512i high = _mm512_and_si512(Io<bfloat16>::rounded(second), _mm512_set1_epi32(~0xffff));
    _mm512_storeu_si512(to, _mm512_or_si512(low, high));
  }
  // The first or the second halves of `lanes` pairs; the others stay as they are.
  static inline void store_half(A* to, reg value, int half, int lanes) {
    const __m512i bits = Io<bfloat16>::rounded(value);
    const __mmask32 all = static_cast<__mmask32>((uint64_t{1} << 2 * lanes) - 1);
    if (half)
      _mm512_mask_storeu_epi16(to, all & 0xaaaaaaaau, bits);
    else
      _mm512_mask_storeu_epi16(to, all & 0x55555555u, _mm512_srli_epi32(bits, 16));
  }
  // Two rows of 16 bfloat16 as pairs; zeros for a second that is null.
  static inline void pair_up(A* to, const A* first, const A* second) {
    const __m512i low = widened(first);
    const __m512i high = second ? _mm512_slli_epi32(widened(second), 16) : _mm512_setzero_si512();
    _mm512_storeu_si512(to, _mm512_or_si512(low, high));
  }

 private:
  static inline __m512i widened(const A* from) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
};

}  // namespace avx512_bf16

extern const Target avx512_target;

namespace {

// In stages, what one product leaves is in float for the next.
int forward(const conveyor_lstm& l, const conveyor_lstm_outputs& out, const Wavefront& wave) {
  if (l.dtype != CONVEYOR_BFLOAT16 || in_stages(l)) return avx512_target.forward(l, out, wave);
  return avx512_bf16::Forward<avx512_bf16::Pairs, bfloat16, float>(l, out, wave).run();
}

int backward(const conveyor_lstm& l, const conveyor_lstm_gradients& g, const Wavefront& wave) {
  if (l.dtype != CONVEYOR_BFLOAT16 || in_stages(l)) return avx512_target.backward(l, g, wave);
  return avx512_bf16::Backward<avx512_bf16::Pairs, bfloat16, float>(l, g, wave).run();
}

Stream* stream(const conveyor_lstm& l) {
  if (l.dtype != CONVEYOR_BFLOAT16 || in_stages(l)) return avx512_target.stream(l);
  return new avx512_bf16::StreamOf<avx512_bf16::Forward, avx512_bf16::Pairs, bfloat16, float>(l);
}

int cross_entropy(const conveyor_linear& l, const conveyor_cross_entropy& c) {
  if (l.dtype != CONVEYOR_BFLOAT16) return avx512_target.cross_entropy(l, c);
  return avx512_bf16::CrossEntropy<avx512_bf16::Pairs, bfloat16>(l, c).run();
}

int top_k(const conveyor_linear& l, const conveyor_top_k& t) {
  if (l.dtype != CONVEYOR_BFLOAT16) return avx512_target.top_k(l, t);
  return avx512_bf16::TopK<avx512_bf16::Pairs, bfloat16>(l, t).run();
}

// Hidden states stay in float, so that products have none in 16 bits to read.
int gru_forward(const conveyor_gru& g, const conveyor_gru_outputs& out) {
  return avx512_target.gru_forward(g, out);
}

int gru_backward(const conveyor_gru& g, const conveyor_gru_gradients& d) {
  return avx512_target.gru_backward(g, d);
}

Stream* gru_stream(const conveyor_gru& g) { return avx512_target.gru_stream(g); }

}  // namespace

extern const Target avx512_bf16_target = {"avx512_bf16", avx512_bf16_missing, forward, backward,
                                          stream,        cross_entropy,       top_k,   gru_forward,
                                          gru_backward, gru_stream};

}  // namespace conveyor
