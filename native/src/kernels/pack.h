// Weights in the order in which tiles read them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "real.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// Rows [k0,k1) of one panel of weights [K,4U]: the four gates of the L units from p * L, side by
// side as [K][4][L], zeros past the last unit.
template <class V, class Real>
void pack_panel(const Real* weights, int64_t k0, int64_t k1, int64_t U, int64_t p,
                typename V::T* to) {
  using Io = typename V::template Io<Real>;
  constexpr int L = V::L;
  const int n = static_cast<int>(std::min<int64_t>(L, U - p * L));
  to += k0 * 4 * L;
  for (int64_t k = k0; k < k1; ++k, to += 4 * L) {
    const Real* from = weights + k * 4 * U + p * L;
    for (int g = 0; g < 4; ++g) V::store(to + g * L, Io::load(from + g * U, n));
  }
}

// Rows [k0,k1) of the transpose of weights [N,4U] for N vectors of its first axis from n0: as
// [4U][vectors][L], the first axis ordered (panel, gate, unit of the panel), zeros elsewhere.
template <class V, class Real>
void pack_transposed(const Real* weights, int64_t N, int64_t U, int64_t n0, int vectors, int64_t p,
                     typename V::T* to) {
  constexpr int L = V::L;
  const int64_t rows = std::min<int64_t>(N - n0, int64_t{vectors} * L);
  const int width = static_cast<int>(std::min<int64_t>(L, U - p * L));
  to += p * 4 * L * vectors * L;
  for (int g = 0; g < 4; ++g) {
    typename V::T* block = to + int64_t{g} * L * vectors * L;
    if (rows < int64_t{vectors} * L || width < L)
      std::fill(block, block + int64_t{L} * vectors * L, typename V::T(0));
    for (int64_t n = 0; n < rows; ++n) {
      const Real* from = weights + (n0 + n) * 4 * U + g * U + p * L;
      for (int j = 0; j < width; ++j)
        block[int64_t{j} * vectors * L + n] = static_cast<typename V::T>(load_one(from + j));
    }
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
