// Weights in the order in which tiles read them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/operand.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// One panel of N vectors [N,U], as [N][L]; zeros where there are none.
template <class V, int N, class Real>
void pack_vectors(const Real* from, int64_t U, int64_t p, typename V::T* to) {
  constexpr int L = V::L;
  const int n = static_cast<int>(std::min<int64_t>(L, U - p * L));
  for (int g = 0; g < N; ++g)
    V::store(to + g * L, from ? V::template Io<Real>::load(from + g * U + p * L, n) : V::zero());
}

// One panel of weights [K,4U]: the four gates of the L units from p * L, side by side as
// [K][4][L] of A, zeros past the last unit.
template <class V, class Real>
void pack_panel(const Real* weights, int64_t K, int64_t U, int64_t p, typename V::A* to) {
  using Io = typename V::template Io<Real>;
  constexpr int L = V::L;
  const int n = static_cast<int>(std::min<int64_t>(L, U - p * L));
  for (int64_t k = 0; k < K; k += V::kPair, to += 4 * L) {
    const Real* from = weights + k * 4 * U + p * L;
    for (int g = 0; g < 4; ++g) {
      const auto one = Io::load(from + g * U, n);
      if constexpr (V::kPair == 1)
        V::store(to + g * L, one);
      else
        V::store_pairs(to + g * L, one, k + 1 < K ? Io::load(from + (4 + g) * U, n) : V::zero());
    }
  }
}

// One panel of the transpose of weights [N,4U], for some vectors of its first axis from n0: of
// [4U][vectors][L] of A, the summed axis ordered (panel, gate, unit of the panel), zeros elsewhere.
template <class V, class Real>
void pack_transposed(const Real* weights, int64_t N, int64_t U, int64_t n0, int vectors, int64_t p,
                     typename V::A* to) {
  constexpr int L = V::L;
  const int64_t rows = std::min<int64_t>(N - n0, int64_t{vectors} * L);
  const int width = static_cast<int>(std::min<int64_t>(L, U - p * L));
  using Element = typename Operand<V>::Element;
  constexpr int kPair = V::kPair;
  to += p * 4 * L / kPair * vectors * L;
  if constexpr (V::kTransposes) {
    for (int g = 0; g < 4; ++g) {
      typename V::A* block = to + int64_t{g} * L / kPair * vectors * L;
      for (int v = 0; v < vectors; ++v, block += L) {
        typename V::reg tile[L];
        for (int64_t n = 0; n < L; ++n) {
          const int64_t row = n0 + v * L + n;
          tile[n] = row < N ? V::template Io<Real>::load(weights + row * 4 * U + g * U + p * L, width)
                            : V::zero();
        }
        V::transpose(tile);
        for (int j = 0; j < L; j += kPair) {
          typename V::A* column = block + int64_t{j / kPair} * vectors * L;
          if constexpr (kPair == 1)
            V::store(column, tile[j]);
          else
            V::store_pairs(column, tile[j], tile[j + 1]);
        }
      }
    }
    return;
  }
  for (int g = 0; g < 4; ++g) {
    Element* block = Operand<V>::elements(to) + int64_t{g} * L * vectors * L;
    if (rows < int64_t{vectors} * L || width < L)
      std::memset(static_cast<void*>(block), 0, sizeof(Element) * L * vectors * L);
    for (int64_t n = 0; n < rows; ++n) {
      const Real* from = weights + (n0 + n) * 4 * U + g * U + p * L;
      for (int j = 0; j < width; ++j)
        store(block + (int64_t{j / kPair} * vectors * L + n) * kPair + j % kPair,
              load_one(from + j));
    }
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
