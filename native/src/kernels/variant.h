// What a request adds to the plain LSTM, as the pointwise part of a step reads it.
#pragma once

#include "conveyor/lstm.h"
#include "kernels/functions.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V>
struct Variant {
  using T = typename V::T;
  using reg = typename V::reg;
  static constexpr int L = V::L;

  explicit Variant(const conveyor_lstm& l)
      : phi(Function<V>::of(l, CONVEYOR_PHI)),
        sigma(Function<V>::of(l, CONVEYOR_SIGMA)),
        psi(Function<V>::of(l, CONVEYOR_PSI)),
        clip(static_cast<T>(l.clip)),
        cell_clip(static_cast<T>(l.cell_clip)),
        hidden_part(static_cast<T>(l.hidden_part)),
        cell_part(static_cast<T>(l.cell_part)),
        coupled(l.coupled),
        hidden_zoneout(l.hidden_zoneout || l.hidden_part > 0),
        cell_zoneout(l.cell_zoneout || l.cell_part > 0),
        nothing(phi.kind() == CONVEYOR_TANH && sigma.kind() == CONVEYOR_SIGMOID &&
                psi.kind() == CONVEYOR_TANH && !l.peephole && !coupled && !hidden_zoneout &&
                !cell_zoneout && l.clip == 0 && l.cell_clip == 0),
        keeps_z(l.clip > 0 || !phi.slope_from_value() || !sigma.slope_from_value()) {}

  static reg clipped(reg z, T bound) {
    if (bound == 0) return z;
    return V::max(V::set1(-bound), V::min(V::set1(bound), z));
  }
  // 1 within the bound, else 0.
  static reg inside(reg z, T bound) {
    return V::positive(V::sub(V::set1(bound), V::max(V::neg(z), z)));
  }
  // The part of the old state that L units keep.
  static reg part(const uint8_t* keeps, T expected, int64_t at, int count) {
    if (!keeps) return V::set1(expected);
    T parts[L] = {};
    for (int n = 0; n < count; ++n) parts[n] = keeps[at + n] ? T(1) : T(0);
    return V::load(parts);
  }
  // Chosen where a part is all or nothing: a product with zero must not meet infinity.
  static reg mixed(const uint8_t* keeps, reg part, reg before, reg made) {
    if (keeps) return V::select(part, before, made);
    return V::fma(part, before, V::mul(V::sub(V::set1(1), part), made));
  }
  // A gradient, as far as it goes to the old state, and the rest of it.
  static reg kept(const uint8_t* keeps, reg part, reg d) {
    return keeps ? V::select(part, d, V::zero()) : V::mul(part, d);
  }
  static reg passed(const uint8_t* keeps, reg part, reg d) {
    return keeps ? V::select(part, V::zero(), d) : V::mul(V::sub(V::set1(1), part), d);
  }

  const Function<V> phi, sigma, psi;
  const T clip, cell_clip, hidden_part, cell_part;
  const bool coupled, hidden_zoneout, cell_zoneout;
  const bool nothing;  // the plain LSTM, with its usual activations
  const bool keeps_z;  // what the backward pass needs of the gates is what went into them
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
