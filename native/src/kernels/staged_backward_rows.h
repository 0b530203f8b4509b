// The backward pass in stages: the product with R^T, and what is done row by row.
#pragma once

#include "kernels/staged_backward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// dz of the step after times R^T, of the rows that have one.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::recurrent(int64_t t, Range active, Range tiles,
                                                      Local local, bool long_step, int member) {
  for (int64_t k = active.begin; k < active.end && !(long_step && stop_.skip(member));) {
    typename Base::Block block{0, true, {}, {}};
    const int64_t left = active.end - k, count = (left + M - 1) / M;
    const int64_t wanted = (left + count - 1) / count;
    for (; k < active.end && block.rows < wanted; ++k) {
      const int64_t b = steps_.row(t, k);
      if (flags_[b] & kFollows) block.b[block.rows++] = b;
    }
    if (!block.rows) continue;
    with_rows<M>(block.rows, [&](auto m) {
      constexpr int R = decltype(m)::count;
      for (int64_t n = tiles.begin; n < tiles.end; ++n) {
        reg dh[R][N];
        for (int r = 0; r < R; ++r) fetch(block.b[r], t, share(s_.P, this->tiles_, n));
        clear<V, R, N>(dh);
        this->template recurrent_product<R>(dh, block, n, t, local);
        for (int r = 0; r < R; ++r)
          for (int64_t v = 0; v < std::min<int64_t>(N, s_.HP - n * N); ++v)
            V::store(d_hidden_ + block.b[r] * hidden_row_ + (n * N + v) * L, dh[r][v]);
      }
    });
  }
}

// What the forward pass kept comes from memory; the product hides the way.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::fetch(int64_t b, int64_t t, Range panels) const {
  const int64_t row = kept_.row(b, t);
  for (int64_t at = panels.begin * 4 * L; at < panels.end * 4 * L; at += L) {
    V::prefetch(kept_.z + row * 4 + at);
    if (kept_.x) V::prefetch(kept_.x + row * 4 + at);
  }
  const int64_t before = t > 0 ? kept_.row(b, t - 1) : row;
  for (int64_t at = panels.begin * L; at < panels.end * L; at += L) {
    V::prefetch(kept_.cells + before + at);
    if (kept_.inner) V::prefetch(kept_.inner + row + at);
  }
}

template <class V, class Real, class State>
inline auto StagedBackward<V, Real, State>::arriving_hidden(reg d, int64_t b, int64_t t,
                                                            int64_t p) const -> reg {
  const auto* its = static_cast<const Real*>(g_.d_states[CONVEYOR_HIDDEN_STATES]);
  return its ? V::add(d, Io::load(its + (b * s_.T + t) * s_.H + p * L, hidden_lanes(p))) : d;
}

// All that comes to the hidden state of a step; what zoneout keeps of it goes to the step before.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::arrive(int64_t b, int64_t in_chunk, int64_t t) {
  const Variant<V>& v = variant_;
  for (int64_t p = 0; p < s_.HP; ++p) {
    T* const at = d_hidden_ + b * hidden_row_ + p * L;
    T* const held = dh_ + (p * s_.B + b) * L;
    reg dh = flags_[b] & kFollows ? V::load(at) : V::zero();
    if (flags_[b] & kHolds) dh = V::add(dh, V::load(held));
    dh = arriving_hidden(dh, b, t, p);
    if (v.hidden_zoneout) {
      const int64_t at_time = (b * s_.T + steps_.time(t)) * s_.H + p * L;
      const reg part = v.part(l_.hidden_zoneout, v.hidden_part, at_time, hidden_lanes(p));
      V::store(held, v.kept(l_.hidden_zoneout, part, dh));
      dh = v.passed(l_.hidden_zoneout, part, dh);
    }
    V::store(at, dh);
    if (d_hidden_chunk_)
      V::store(d_hidden_chunk_ + (p / N * this->chunk_rows_ + in_chunk) * kDz + p % N * L, dh);
  }
}

// The gates anew, and back to the argument of psi.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::first_half(int64_t b, int64_t in_chunk, int64_t t,
                                                       int64_t place) {
  const StagedCell<V, Real>& row = *row_of_;
  const Variant<V>& v = variant_;
  const int64_t at_z = kept_.row(b, t) * 4;
  const Left left = row.kept_left(kept_.z + at_z, row.joint ? kept_.x + at_z : nullptr,
                                   kept_.moments_of(b, t));
  left_[place] = left;
  T* const kept = of_step_ + place * kOfStep * s_.padded;
  T* const cells = made_ + place * s_.padded;
  by_panels(s_.P, [&](int64_t p, auto k) {
    constexpr int K = decltype(k)::count;
    reg y[K][4], into[K][4], before[K], made[K];
    for (int n = 0; n < K; ++n) {
      row.into_gates(left, p + n, y[n]);
      before[n] = cell_before(b, t, p + n);
    }
    row.template step<K>(y, into, before, made, p);
    for (int n = 0; n < K; ++n) {
      T* const to = kept + (p + n) * kOfStep * L;
      constexpr int kGates[4] = {kI, kF, kG, kO}, kSlopes[4] = {kSlopeI, kSlopeF, kSlopeG, kSlopeO};
      for (int gate = 0; gate < 4; ++gate) {
        const Function<V>& function = gate == CONVEYOR_CANDIDATE ? v.phi : v.sigma;
        const reg at = v.clipped(into[n][gate], v.clip);
        reg slope = function.slope(at, y[n][gate]);
        if (v.clip > 0) slope = V::mul(slope, v.inside(into[n][gate], v.clip));
        V::store(to + kGates[gate] * L, y[n][gate]);
        V::store(to + kSlopes[gate] * L, slope);
      }
      V::store(cells + (p + n) * L, made[n]);
    }
  });
  if (l_.cell_norm) of_cell_[place] = row.cell_norm.of(cells);
  const T* const dm = l_.projection ? d_outward_ + b * units_row_ : d_hidden_ + b * hidden_row_;
  by_panels(s_.P, [&](int64_t p, auto k) {
    constexpr int K = decltype(k)::count;
    reg c[K], u[K], psi[K];
    for (int n = 0; n < K; ++n) {
      const int64_t at = (p + n) * L;
      c[n] = l_.cell_norm ? row.normal_cell(cells, of_cell_[place], p + n) : V::load(cells + at);
      u[n] = l_.output_transform ? V::load(kept_.inner + kept_.row(b, t) + at) : c[n];
      psi[n] = u[n];
    }
    v.psi.apply(psi);
    for (int n = 0; n < K; ++n) {
      const int64_t at = (p + n) * L;
      T* const its = kept + (p + n) * kOfStep * L;
      const reg o = V::load(its + kO * L), d = V::load(dm + at);
      const reg d_inner = V::mul(V::mul(d, o), v.psi.slope(u[n], psi[n]));
      // From here on the output gate's place holds its gradient.
      V::store(its + kO * L, V::mul(d, psi[n]));
      V::store(d_inner_ + b * units_row_ + at, d_inner);
      add(of_output_bias_, b, p + n, 0, d_inner);
      T* const inputs = this->input_ + in_chunk * input_row_;
      if (d_inner_chunk_) {
        V::store(inputs + inner_at_ + at, Io::round(c[n]));
        V::store(d_inner_chunk_ + ((p + n) / N * this->chunk_rows_ + in_chunk) * kDz +
                     (p + n) % N * L,
                 d_inner);
      }
      if (d_hidden_chunk_) V::store(inputs + outward_at_ + at, Io::round(V::mul(o, psi[n])));
    }
  });
}

// From the gradient of c on its way out to dz.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::second_half(int64_t b, int64_t in_chunk, int64_t t,
                                                        int64_t place, int member) {
  const StagedCell<V, Real>& row = *row_of_;
  const Variant<V>& v = variant_;
  const T* const kept = of_step_ + place * kOfStep * s_.padded;
  const T* const cells = made_ + place * s_.padded;
  T* const d_made = (l_.output_transform ? d_cell_ : d_inner_) + b * units_row_;
  if (l_.cell_norm) {
    const OfCell& of_row = of_cell_[place];
    row.cell_norm.backward(
        cells, of_row, row.cell_scale, d_made,
        [&](int64_t p, int, reg d, reg normal) {
          add(of_cell_scale_, b, p, 0, V::mul(d, normal));
          add(of_cell_shift_, b, p, 0, d);
        },
        [&](int64_t p, int, reg d) { V::store(d_made + p * L, d); });
  }
  T* const last = this->last_[0] + b * this->stride_;
  T* const dz_now = row.norms_gates() ? dz_now_ + member * gates_row_ : nullptr;
  for (int64_t p = 0; p < s_.P; ++p) {
    const int n = lanes(p);
    const T* const its = kept + p * kOfStep * L;
    const auto of = [&](int which) { return V::load(its + which * L); };
    const auto arriving = [&](int state, reg d) { return this->arriving(state, d, b, t, p, n); };
    T* const dc_at = dc_ + (p * s_.B + b) * L;
    reg dc = arriving(CONVEYOR_CELL_STATES, V::load(dc_at)), dc_kept = V::zero();
    if (v.cell_zoneout) {
      const int64_t at_time = (b * s_.T + steps_.time(t)) * s_.U + p * L;
      const reg part = v.part(l_.cell_zoneout, v.cell_part, at_time, n);
      dc_kept = v.kept(l_.cell_zoneout, part, dc);
      dc = v.passed(l_.cell_zoneout, part, dc);
    }
    const T* const peephole = row.peephole ? row.peephole + p * 3 * L : nullptr;
    const reg before = cell_before(b, t, p), made = V::load(cells + p * L);

    reg dz[4];
    dz[3] = V::mul(arriving(CONVEYOR_OUTPUT_GATES, of(kO)), of(kSlopeO));
    reg through = V::add(V::load(d_made + p * L), dc);
    if (peephole) through = V::fma(V::load(peephole + 2 * L), dz[3], through);
    if (v.cell_clip > 0) through = V::mul(through, v.inside(made, v.cell_clip));
    reg di = arriving(CONVEYOR_INPUT_GATES, V::mul(through, of(kG)));
    reg df = arriving(CONVEYOR_FORGET_GATES, V::mul(through, before));
    const reg dg = arriving(CONVEYOR_CANDIDATES, V::mul(through, of(kI)));
    if (v.coupled) df = V::sub(df, di);
    dz[0] = v.coupled ? V::zero() : V::mul(di, of(kSlopeI));
    dz[1] = V::mul(df, of(kSlopeF));
    dz[2] = V::mul(dg, of(kSlopeG));
    reg dc_before = V::fma(through, of(kF), dc_kept);
    if (peephole) {
      dc_before = V::fma(V::load(peephole), dz[0], dc_before);
      dc_before = V::fma(V::load(peephole + L), dz[1], dc_before);
      add(of_peephole_, b, p, 0, V::mul(dz[0], before));
      add(of_peephole_, b, p, 1, V::mul(dz[1], before));
      add(of_peephole_, b, p, 2, V::mul(dz[3], made));
    }
    V::store(dc_at, dc_before);
    if (!dz_now) {
      this->keep_dz(dz, in_chunk, p, n, last);
      continue;
    }
    for (int k = 0; k < 4; ++k) V::store(dz_now + (p * 4 + k) * L, dz[k]);
  }
  if (dz_now) gates_norm_back(b, in_chunk, left_[place], dz_now);
}

// Back through the layer normalisation of what went into the gates.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::gates_norm_back(int64_t b, int64_t in_chunk,
                                                            const Left& left, const T* dz) {
  const StagedCell<V, Real>& row = *row_of_;
  const auto& norm = row.gates_norm;
  // Copies, which no store can change.
  const auto of_z = left.of_z, of_x = left.of_x;
  const T *const z = left.z, *const x = left.x;
  const int64_t sums = b * gates_row_;
  T* const bias = of_bias_.rows ? of_bias_.rows + sums : nullptr;
  T* const scale = of_scale_.rows ? of_scale_.rows + sums : nullptr;
  T* const x_scale = of_x_scale_.rows ? of_x_scale_.rows + sums : nullptr;
  const int64_t panel = this->chunk_rows_ * kDz;
  T* const last = this->last_[0] + b * this->stride_;
  T* const of_x_chunk = this->dz_ + in_chunk * kDz;
  T* const of_h_chunk = row.joint ? dz_h_ + in_chunk * kDz : of_x_chunk;
  norm.backward(
      z, of_z, row.h_scale(), dz,
      [=](int64_t p, int k, reg d, reg normal) {
        const int64_t at = (p * 4 + k) * L;
        if (bias) V::store(bias + at, V::add(V::load(bias + at), d));
        if (scale) V::store(scale + at, V::fma(d, normal, V::load(scale + at)));
      },
      [=](int64_t p, int k, reg d) {
        V::store(last + (p * 4 + k) * L, d);
        V::store(of_h_chunk + p * panel + k * L, d);
      });
  if (!row.joint) return;
  norm.backward(
      x, of_x, row.x_scale, dz,
      [=](int64_t p, int k, reg d, reg normal) {
        const int64_t at = (p * 4 + k) * L;
        if (x_scale) V::store(x_scale + at, V::fma(d, normal, V::load(x_scale + at)));
      },
      [=](int64_t p, int k, reg d) { V::store(of_x_chunk + p * panel + k * L, d); });
}

template <class V, class Real, class State>
inline auto StagedBackward<V, Real, State>::cell_before(int64_t b, int64_t t, int64_t p) const
    -> reg {
  const int reset = steps_.reset(b, t);
  if (t > 0 && !reset) return V::load(kept_.cells + kept_.row(b, t - 1) + p * L);
  if (reset == CONVEYOR_AT_ZERO || !l_.cell_state) return V::zero();
  return V::template Io<T>::load(static_cast<const T*>(l_.cell_state) + b * s_.U + p * L, lanes(p));
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
