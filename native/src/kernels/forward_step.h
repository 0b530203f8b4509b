// The forward pass: from the inputs of the gates to the states, in registers.
#pragma once

#include "kernels/activation.h"
#include "kernels/forward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
template <int K>
inline __attribute__((always_inline)) void Forward<V, Real, State>::pointwise_of_rows(
    const reg (*from)[4], const Block& block, int m, int64_t p, int64_t t) {
  int64_t b[K], panels[K];
  const A* h_before[K];
  A* h_after[K];
  for (int k = 0; k < K; ++k) {
    b[k] = block.b[m + k], panels[k] = p;
    h_before[k] = block.h_before[m + k], h_after[k] = block.h_after[m + k];
  }
  pointwise<K>(from, b, panels, h_before, h_after, t);
}

// A few at a time: the chain from z to h is long, and they hide each other's waiting.
template <class V, class Real, class State>
template <int K>
inline __attribute__((always_inline)) void Forward<V, Real, State>::pointwise(
    const reg (*from)[4], const int64_t (&rows)[K], const int64_t (&panels)[K],
    const A* const (&h_before)[K], A* const (&h_after)[K], int64_t t) {
  using Act = Activation<V>;
  reg z[K][4], into[K][4], c[K], h[K];
#pragma GCC unroll 2
  for (int k = 0; k < K; ++k) {
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) z[k][g] = from[k][g];
    c[k] = V::load(cell(panels[k], rows[k]));
  }
  if (usual_) {
    if constexpr (Act::is_float) {
      if (any_gate_)
        Act::template long_step<K>(z, c, h);
      else
        Act::template short_step<K>(z, c, h);
    }
  } else {
    general_step<K>(z, into, c, h, rows, panels, h_before, t);
  }
  for (int k = 0; k < K; ++k) {
    const int64_t b = rows[k], p = panels[k];
    const int n = lanes(p);
    // Past the last unit z is x times zeros: NaN where x is infinite, and pairs read one of them.
    const reg rounded = Io::round(n == L ? h[k] : V::first(h[k], n));
    V::store(cell(p, b), c[k]);
    Read::store(h_after[k], p * L, rounded);
    const int64_t to = at(b, t, p);
    if (any_gate_) keep_gates(z[k], variant_.keeps_z ? into[k] : z[k], b, t, p, n);
    if (out_.states[CONVEYOR_HIDDEN_STATES])
      Io::store(real(CONVEYOR_HIDDEN_STATES) + to, rounded, n);
    if (out_.states[CONVEYOR_CELL_STATES]) Io::store(real(CONVEYOR_CELL_STATES) + to, c[k], n);
    if (cells_) V::template Io<State>::store(cells_ + reserved(b, t, p), c[k], L);
  }
}

// Whatever the request adds to the plain LSTM; of the gates' inputs, `into` gets what the backward
// pass may need, and z becomes the gates.
template <class V, class Real, class State>
template <int K>
inline void Forward<V, Real, State>::general_step(
    reg (&z)[K][4], reg (&into)[K][4], reg (&c)[K], reg (&h)[K], const int64_t (&rows)[K],
    const int64_t (&panels)[K], const A* const (&h_before)[K], int64_t t) const {
  const Variant<V>& v = variant_;
  reg before[K], gates[2 * K], g[K], o[K];
  for (int k = 0; k < K; ++k) {
    before[k] = c[k];
    if (peephole_) {
      const T* peephole = peephole_ + panels[k] * 3 * L;
      z[k][0] = V::fma(V::load(peephole), c[k], z[k][0]);
      z[k][1] = V::fma(V::load(peephole + L), c[k], z[k][1]);
    }
    gates[2 * k] = v.clipped(z[k][0], v.clip);
    gates[2 * k + 1] = v.clipped(z[k][1], v.clip);
    g[k] = v.clipped(z[k][2], v.clip);
  }
  v.sigma.apply(gates);
  v.phi.apply(g);
  for (int k = 0; k < K; ++k) {
    if (v.coupled) gates[2 * k] = V::sub(V::set1(1), gates[2 * k + 1]);
    c[k] = v.clipped(V::fma(gates[2 * k + 1], c[k], V::mul(gates[2 * k], g[k])), v.cell_clip);
    if (peephole_)
      z[k][3] = V::fma(V::load(peephole_ + (panels[k] * 3 + 2) * L), c[k], z[k][3]);
    o[k] = v.clipped(z[k][3], v.clip);
    h[k] = c[k];
  }
  v.sigma.apply(o);
  v.psi.apply(h);
  for (int k = 0; k < K; ++k) {
    for (int gate = 0; gate < 4; ++gate) into[k][gate] = z[k][gate];
    z[k][0] = gates[2 * k], z[k][1] = gates[2 * k + 1], z[k][2] = g[k], z[k][3] = o[k];
    h[k] = V::mul(o[k], h[k]);
    const int n = lanes(panels[k]);
    const int64_t at = (rows[k] * s_.T + steps_.time(t)) * s_.U + panels[k] * L;
    if (v.cell_zoneout)
      c[k] = v.mixed(l_.cell_zoneout, v.part(l_.cell_zoneout, v.cell_part, at, n), before[k], c[k]);
    if (v.hidden_zoneout)
      h[k] = v.mixed(l_.hidden_zoneout, v.part(l_.hidden_zoneout, v.hidden_part, at, n),
                     Read::load(h_before[k], panels[k] * L), h[k]);
  }
}

template <class V, class Real, class State>
inline void Forward<V, Real, State>::keep_gates(const reg (&gates)[4], const reg (&kept)[4],
                                                int64_t b, int64_t t, int64_t p, int n) {
  for (int k = 0; k < 4; ++k) {
    if (gates_) Io::store(gates_ + reserved(b, t, p) * 4 + k * L, kept[k], L);
    if (out_.states[CONVEYOR_INPUT_GATES + k])
      Io::store(real(CONVEYOR_INPUT_GATES + k) + at(b, t, p), gates[k], n);
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
