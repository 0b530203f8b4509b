// The backward pass: the pointwise part of a step, with whatever a request adds to the plain LSTM,
// and gradients that arrive anywhere.
#pragma once

#include "kernels/backward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// What the forward pass kept of a step, and the gates that follow from it.
template <class V, class Real, class State>
inline auto Backward<V, Real, State>::gates(int64_t b, int64_t t, int64_t p) const -> Gates {
  const Variant<V>& v = variant_;
  const Real* kept = gates_ + ((t * s_.P + p) * s_.B + b) * L * 4;
  Gates g;
  for (int k = 0; k < 4; ++k) g.y[k] = g.z[k] = Io::load(kept + k * L, L);
  if (!v.keeps_z) return g;
  reg sigmas[3] = {v.clipped(g.z[0], v.clip), v.clipped(g.z[1], v.clip), v.clipped(g.z[3], v.clip)};
  reg candidate[1] = {v.clipped(g.z[2], v.clip)};
  v.sigma.apply(sigmas);
  v.phi.apply(candidate);
  g.y[0] = v.coupled ? V::sub(V::set1(1), sigmas[1]) : sigmas[0];
  g.y[1] = sigmas[1], g.y[2] = candidate[0], g.y[3] = sigmas[2];
  return g;
}

// The cell state after a step, before zoneout.
template <class V, class Real, class State>
inline auto Backward<V, Real, State>::cell_made(const Gates& gates, int64_t b, int64_t t,
                                                int64_t p) const -> reg {
  if (!variant_.cell_zoneout) return StateIo::load(cells_ + ((t * s_.P + p) * s_.B + b) * L, L);
  const reg* y = gates.y;
  return variant_.clipped(V::fma(y[1], cell_before(b, t, p), V::mul(y[0], y[2])),
                          variant_.cell_clip);
}

template <class V, class Real, class State>
inline auto Backward<V, Real, State>::slope(const Gates& gates, int k) const -> reg {
  const Variant<V>& v = variant_;
  const Function<V>& function = k == CONVEYOR_CANDIDATE ? v.phi : v.sigma;
  const reg slope = function.slope(gates.z[k], gates.y[k]);
  return v.clip > 0 ? V::mul(slope, v.inside(gates.z[k], v.clip)) : slope;
}

template <class V, class Real, class State>
inline void Backward<V, Real, State>::general_pointwise(reg dh, reg psi_c, int64_t b,
                                                        int64_t in_chunk, int64_t p, int64_t t,
                                                        bool holds, A* last) {
  const Variant<V>& v = variant_;
  const int n = lanes(p);
  const int64_t at_time = (b * s_.T + steps_.time(t)) * s_.U + p * L;
  T* const dh_at = dh_ + (p * s_.B + b) * L;
  T* const dc_at = dc_ + (p * s_.B + b) * L;
  if (holds) dh = V::add(dh, V::load(dh_at));
  dh = arriving(CONVEYOR_HIDDEN_STATES, dh, b, t, p, n);
  reg dc = arriving(CONVEYOR_CELL_STATES, V::load(dc_at), b, t, p, n);
  reg dc_kept = V::zero();
  if (v.hidden_zoneout) {
    const reg part = v.part(l_.hidden_zoneout, v.hidden_part, at_time, n);
    V::store(dh_at, v.kept(l_.hidden_zoneout, part, dh));
    dh = v.passed(l_.hidden_zoneout, part, dh);
  }
  if (v.cell_zoneout) {
    const reg part = v.part(l_.cell_zoneout, v.cell_part, at_time, n);
    dc_kept = v.kept(l_.cell_zoneout, part, dc);
    dc = v.passed(l_.cell_zoneout, part, dc);
  }

  const Gates kept = gates(b, t, p);
  const reg i = kept.y[0], f = kept.y[1], g = kept.y[2], o = kept.y[3];
  const reg before = cell_before(b, t, p), made = cell_made(kept, b, t, p);
  if (v.cell_zoneout) psi_c = v.psi.value(made);
  const T* const peephole = peephole_ ? peephole_ + p * 3 * L : nullptr;

  reg dz[4];
  dz[3] = V::mul(arriving(CONVEYOR_OUTPUT_GATES, V::mul(dh, psi_c), b, t, p, n), slope(kept, 3));
  reg through = V::fma(V::mul(dh, o), v.psi.slope(made, psi_c), dc);
  if (peephole) through = V::fma(V::load(peephole + 2 * L), dz[3], through);
  if (v.cell_clip > 0) through = V::mul(through, v.inside(made, v.cell_clip));

  reg di = arriving(CONVEYOR_INPUT_GATES, V::mul(through, g), b, t, p, n);
  reg df = arriving(CONVEYOR_FORGET_GATES, V::mul(through, before), b, t, p, n);
  const reg dg = arriving(CONVEYOR_CANDIDATES, V::mul(through, i), b, t, p, n);
  if (v.coupled) df = V::sub(df, di), di = V::zero();
  dz[0] = v.coupled ? V::zero() : V::mul(di, slope(kept, 0));
  dz[1] = V::mul(df, slope(kept, 1));
  dz[2] = V::mul(dg, slope(kept, 2));

  reg dc_before = V::fma(through, f, dc_kept);
  if (peephole) {
    dc_before = V::fma(V::load(peephole), dz[0], dc_before);
    dc_before = V::fma(V::load(peephole + L), dz[1], dc_before);
  }
  V::store(dc_at, dc_before);
  keep_dz(dz, in_chunk, p, n, last);
}

// Sums over the rows of the chunk, panel by panel, so that members never share one.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::peephole_gradient(int64_t begin, int64_t end,
                                                        const Team& team, int member) {
  const int64_t rows = steps_.before(end) - steps_.before(begin);
  const Range panels = share(s_.P, team.size(), member);
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    T* const sums = d_peephole_ + p * 3 * L;
    reg sum[3] = {V::load(sums), V::load(sums + L), V::load(sums + 2 * L)};
    Walk walk(steps_, end, 0);
    for (int64_t row = 0; row < rows; ++row) {
      const Place at = walk.next();
      const A* const dz = dz_ + (p * chunk_rows_ + row) * kDz;
      const reg before = cell_before(at.b, at.t, p);
      const reg made = variant_.cell_zoneout
                           ? cell_made(gates(at.b, at.t, p), at.b, at.t, p)
                           : StateIo::load(cells_ + ((at.t * s_.P + p) * s_.B + at.b) * L, L);
      sum[0] = V::fma(Read::load(dz, 0), before, sum[0]);
      sum[1] = V::fma(Read::load(dz, L), before, sum[1]);
      sum[2] = V::fma(Read::load(dz, 3 * L), made, sum[2]);
    }
    for (int k = 0; k < 3; ++k) V::store(sums + k * L, sum[k]);
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
