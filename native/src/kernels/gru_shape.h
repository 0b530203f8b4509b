// What both directions of the GRU share: its axes and steps, and how it packs weights.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "conveyor/gru.h"
#include "kernels/functions.h"
#include "kernels/shape.h"
#include "real.h"
#include "steps.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// The axes, masks, resets and functions of a GRU where an LSTM has them.
inline conveyor_lstm as_lstm(const conveyor_gru& g) {
  conveyor_lstm l{};
  l.batch = g.batch, l.time_steps = g.time_steps, l.features = g.features, l.units = g.units;
  l.go_backwards = g.go_backwards;
  l.mask = g.mask, l.resets = g.resets;
  l.activation = g.activation, l.recurrent_activation = g.recurrent_activation;
  for (const int n : {CONVEYOR_PHI, CONVEYOR_SIGMA})
    l.alpha[n] = g.alpha[n], l.beta[n] = g.beta[n];
  return l;
}

// The part of the rows that step t computes, as a range of its list.
inline Range active_rows(const Steps& steps, int64_t t, Range rows) {
  if (!steps.masked()) return rows;
  const int64_t n = steps.count(t);
  int64_t begin = 0;
  while (begin < n && steps.row(t, begin) < rows.begin) ++begin;
  int64_t end = begin;
  while (end < n && steps.row(t, end) < rows.end) ++end;
  return {begin, end};
}

// The parts of the reserve of a step: gates and candidates, or where their slopes do not follow from
// them what went into them; and h' R_g + b'_g.
enum { kUpdate = 0, kReset = 1, kCandidate = 2, kOfState = 3 };

template <class V>
struct GruFunctions {
  explicit GruFunctions(const conveyor_lstm& l)
      : phi(Function<V>::of(l, CONVEYOR_PHI)),
        sigma(Function<V>::of(l, CONVEYOR_SIGMA)),
        keeps_inputs(!phi.slope_from_value() || !sigma.slope_from_value()),
        usual_(phi.kind() == CONVEYOR_TANH && sigma.kind() == CONVEYOR_SIGMOID) {}

  // N side by side: alone, each would wait for itself.
  template <int N>
  inline __attribute__((always_inline)) void sigmas(typename V::reg (&z)[N]) const {
    if constexpr (Act::is_float) {
      if (usual_) return Act::template sigmoids<N>(z, z);
    }
    for (auto& one : z) one = sigma.value(one);
  }
  template <int N>
  inline __attribute__((always_inline)) void phis(typename V::reg (&z)[N]) const {
    if constexpr (Act::is_float) {
      if (usual_) return Act::template tanhs<N>(z, z);
    }
    for (auto& one : z) one = phi.value(one);
  }

  // What the reserve keeps of a gate, made into its value.
  typename V::reg value(const Function<V>& function, typename V::reg kept) const {
    return keeps_inputs ? function.value(kept) : kept;
  }
  // Of what the reserve keeps and its value.
  typename V::reg slope(const Function<V>& function, typename V::reg kept,
                        typename V::reg value) const {
    return keeps_inputs ? function.slope(kept, value) : Act::slope(function.kind(), value);
  }

  const Function<V> phi, sigma;
  const bool keeps_inputs;

 private:
  using Act = Activation<V>;
  const bool usual_;
};

// Units as the reserve has them, padded to the widest vector.
inline int64_t reserved_units(int64_t units) { return (units + 15) / 16 * 16; }

// Some gates of one panel of weights [K,3U], side by side as [K][count][L], zeros past the last unit.
template <class V, class Real>
void pack_gates(const Real* weights, int64_t K, int64_t U, int64_t p, int first, int count,
                int64_t stride, typename V::T* to) {
  const int n = static_cast<int>(std::min<int64_t>(V::L, U - p * V::L));
  for (int64_t k = 0; k < K; ++k, to += stride)
    for (int c = 0; c < count; ++c)
      V::store(to + c * V::L, V::template Io<Real>::load(
                                  weights + (k * 3 + first + c) * U + p * V::L, n));
}

// One panel of one gate of the transpose of weights [K,3U], for `vectors` vectors of its first
// axis from k0: [L][vectors][L], the summed axis being the units of the panel.
template <class V, class Real>
void pack_gate_transposed(const Real* weights, int64_t K, int64_t U, int64_t k0, int vectors,
                          int64_t p, int gate, typename V::T* to) {
  constexpr int L = V::L;
  const int width = static_cast<int>(std::min<int64_t>(L, U - p * L));
  const int64_t rows = std::min<int64_t>(K - k0, int64_t{vectors} * L);
  std::fill(to, to + int64_t{L} * vectors * L, typename V::T(0));
  for (int64_t n = 0; n < rows; ++n) {
    const Real* from = weights + ((k0 + n) * 3 + gate) * U + p * L;
    for (int j = 0; j < width; ++j)
      to[int64_t{j} * vectors * L + n] = static_cast<typename V::T>(load_one(from + j));
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
