// The forward pass in stages: the tiles of its first product, and what is done row by row.
#pragma once

#include "kernels/staged_forward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// x W + h' R of a tile, added up or each by itself.
template <class V, class Real, class State>
template <int R>
inline void StagedForward<V, Real, State>::into_gates(const Block& block, int64_t p, int64_t t) {
  reg z[R][4];
  const A *x[R], *h[R];
  for (int m = 0; m < R; ++m) x[m] = block.x[m], h[m] = block.h[m];
  const T* const bias = this->bias_ + p * 4 * L;
  const A* const kernel = this->kernel_ + p * this->f_ * 4 * L;
  const A* const recurrent = this->recurrent_ + p * this->u_ * 4 * L;
  const auto store = [&](const reg (&from)[R][4], auto to) {
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) V::store(to(block.b[m]) + (p * 4 + g) * L, from[m][g]);
  };
  if (ahead_)
    this->template load_rows<R>(z, block.z, p);
  else
    this->template start<R>(z, bias);
  if (!ahead_) this->template add_masked_product<R>(z, x, kernel, this->f_, this->x_gates_, this->x_staged_);
  if (row_of_->joint) {
    store(z, [&](int64_t b) { return x_of(b, t); });
    clear<V, R, 4>(z);
  }
  this->template add_masked_product<R>(z, h, recurrent, this->u_, this->h_gates_,
                                        this->h_staged_);
  store(z, [&](int64_t b) { return z_of(b, t); });
}

// From what the products left to the gates and the cell state; and without W5 to what is projected.
template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::gates_of(int64_t b, int64_t t) {
  const StagedCell<V, Real>& row = *row_of_;
  const Variant<V>& v = variant_;
  const auto left = row.left(z_of(b, t), row.joint ? x_of(b, t) : nullptr,
                             out_.reserve ? kept_.moments_of(b, t) : nullptr);
  T* const cells = row_in(made_, b);
  by_panels(s_.P, [&](int64_t p, auto k) {
    constexpr int K = decltype(k)::count;
    reg gates[K][4], into[K][4], before[K], made[K];
    for (int n = 0; n < K; ++n) {
      row.into_gates(left, p + n, gates[n]);
      before[n] = V::load(cell(p + n, b));
    }
    row.template step<K>(gates, into, before, made, p);
    for (int n = 0; n < K; ++n) {
      reg c = made[n];
      if (v.cell_zoneout) {
        const int64_t at = (b * s_.T + steps_.time(t)) * s_.U + (p + n) * L;
        c = v.mixed(l_.cell_zoneout,
                    v.part(l_.cell_zoneout, v.cell_part, at, this->lanes(p + n)), before[n], c);
      }
      V::store(cell(p + n, b), c);
      V::store(row_in(o_, b) + (p + n) * L, gates[n][3]);
      V::store(cells + (p + n) * L, made[n]);
      keep(gates[n], c, b, t, p + n);
    }
  });
  if (l_.cell_norm) {
    const auto of_row = row.cell_norm.of(cells);
    for (int64_t p = 0; p < s_.P; ++p) V::store(cells + p * L, row.normal_cell(cells, of_row, p));
  }
  if (!l_.output_transform) return way_out(b, cells);
  for (int64_t p = 0; p < s_.P; ++p) V::store(cells + p * L, Io::round(V::load(cells + p * L)));
}

template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::keep(const reg (&gates)[4], reg cell, int64_t b,
                                                int64_t t, int64_t p) {
  const int n = this->lanes(p);
  const int64_t to = this->at(b, t, p);
  for (int k = 0; k < 4; ++k)
    if (out_.states[CONVEYOR_INPUT_GATES + k])
      Io::store(real(CONVEYOR_INPUT_GATES + k) + to, gates[k], n);
  if (out_.states[CONVEYOR_CELL_STATES]) Io::store(real(CONVEYOR_CELL_STATES) + to, cell, n);
  if (out_.reserve) V::store(kept_.cells + kept_.row(b, t) + p * L, cell);
}

// o * psi(), as P reads it where there is a projection.
template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::way_out(int64_t b, const T* inner) {
  T* const to = row_in(outward_, b);
  by_panels(s_.P, [&](int64_t p, auto k) {
    constexpr int K = decltype(k)::count;
    reg value[K];
    for (int n = 0; n < K; ++n) value[n] = V::load(inner + (p + n) * L);
    variant_.psi.apply(value);
    for (int n = 0; n < K; ++n) {
      const reg h = V::mul(V::load(row_in(o_, b) + (p + n) * L), value[n]);
      V::store(to + (p + n) * L, l_.projection ? Io::round(h) : h);
    }
  });
}

template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::hidden(int64_t b, int64_t t, const T* made) {
  const Variant<V>& v = variant_;
  for (int64_t p = 0; p < s_.HP; ++p) {
    reg h = V::load(made + p * L);
    if (v.hidden_zoneout) {
      const int64_t at = (b * s_.T + steps_.time(t)) * s_.H + p * L;
      h = v.mixed(l_.hidden_zoneout,
                  v.part(l_.hidden_zoneout, v.hidden_part, at, hidden_lanes(p)),
                  V::load(h_at(b, p)), h);
    }
    h = Io::round(h);
    V::store(h_at(b, p), h);
    put_hidden(b, t, p, h);
  }
}

template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::put_hidden(int64_t b, int64_t t, int64_t p, reg h) {
  if (out_.states[CONVEYOR_HIDDEN_STATES])
    Io::store(real(CONVEYOR_HIDDEN_STATES) + (b * s_.T + t) * s_.H + p * L, h, hidden_lanes(p));
}

// A masked step repeats both states, and its gates are zero.
template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::repeat(int64_t t, Range own, Range mine) {
  const reg none[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  for (int64_t b = own.begin; b < own.end; ++b) {
    if (mine.begin < mine.end && steps_.row(t, mine.begin) == b) {
      ++mine.begin;
      continue;
    }
    for (int64_t p = 0; p < s_.HP; ++p) put_hidden(b, t, p, V::load(h_at(b, p)));
    for (int64_t p = 0; p < s_.P; ++p) keep(none, V::load(cell(p, b)), b, t, p);
  }
}

// The states of rows that begin anew at step t.
template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::restart(int64_t t, Range own) {
  const auto* h0 = static_cast<const Real*>(l_.hidden_state);
  const auto* c0 = static_cast<const T*>(l_.cell_state);
  for (int64_t b = own.begin; b < own.end; ++b) {
    const int reset = steps_.reset(b, t);
    if (reset == CONVEYOR_GO_ON) continue;
    const bool at_start = reset == CONVEYOR_AT_THE_START;
    for (int64_t p = 0; p < s_.HP; ++p)
      V::store(h_at(b, p), at_start && h0 ? Io::load(h0 + b * s_.H + p * L, hidden_lanes(p))
                                          : V::zero());
    for (int64_t p = 0; p < s_.P; ++p)
      V::store(cell(p, b),
               at_start && c0 ? V::template Io<T>::load(c0 + b * s_.U + p * L, this->lanes(p))
                              : V::zero());
  }
}

template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::finish(Range own) {
  for (int64_t b = own.begin; b < own.end; ++b) {
    for (int64_t p = 0; out_.states[CONVEYOR_HIDDEN_STATE] && p < s_.HP; ++p)
      Io::store(real(CONVEYOR_HIDDEN_STATE) + b * s_.H + p * L, V::load(h_at(b, p)),
                hidden_lanes(p));
    for (int64_t p = 0; out_.states[CONVEYOR_CELL_STATE] && p < s_.P; ++p)
      Io::store(real(CONVEYOR_CELL_STATE) + b * s_.U + p * L, V::load(cell(p, b)), this->lanes(p));
  }
}

// The states of a stream, before and after a step.
template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::read_states(Range own, const Real* hidden_state,
                                                       const State* cell_state) {
  for (int64_t b = own.begin; b < own.end; ++b) {
    for (int64_t p = 0; p < s_.HP; ++p)
      V::store(h_at(b, p), Io::load(hidden_state + b * s_.H + p * L, hidden_lanes(p)));
    for (int64_t p = 0; p < s_.P; ++p)
      V::store(cell(p, b),
               V::template Io<State>::load(cell_state + b * s_.U + p * L, this->lanes(p)));
  }
}

template <class V, class Real, class State>
inline void StagedForward<V, Real, State>::write_states(Range own, Real* hidden_state,
                                                        State* cell_state) const {
  for (int64_t b = own.begin; b < own.end; ++b) {
    for (int64_t p = 0; p < s_.HP; ++p)
      Io::store(hidden_state + b * s_.H + p * L, V::load(h_at(b, p)), hidden_lanes(p));
    for (int64_t p = 0; p < s_.P; ++p)
      V::template Io<State>::store(cell_state + b * s_.U + p * L, V::load(cell(p, b)),
                                   this->lanes(p));
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
