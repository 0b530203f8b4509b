// The backward pass: the recurrence. dh and dz of a step, from those of the step after.
#pragma once

#include "kernels/activation.h"
#include "kernels/backward.h"
#include "kernels/tile.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
inline void Backward<V, Real, State>::step(int64_t t, int64_t end, Range rows, Range tiles,
                                           Local local, int member) {
  const int64_t n = steps_.count(t);
  int64_t begin = 0, stop = n;
  while (begin < n && steps_.row(t, begin) < rows.begin) ++begin;
  while (stop > begin && steps_.row(t, stop - 1) >= rows.end) --stop;
  // Rows of the chunk are numbered from its last step on.
  const int64_t first = chunk_row(t, end);
  const bool long_step = rows.size() * width_ > kLong;
  for (int64_t k = begin; k < stop && !(long_step && stop_.skip(member));) {
    Block block;
    block.rows = 0;
    const int64_t left = stop - k, count = (left + M - 1) / M;
    const int64_t wanted = (left + count - 1) / count;
    block.follows = local.pending[steps_.row(t, k)] & kFollows;
    while (k < stop && block.rows < wanted) {
      const int64_t b = steps_.row(t, k);
      if (bool(local.pending[b] & kFollows) != block.follows) break;
      block.b[block.rows] = b;
      block.in_chunk[block.rows++] = first + k;
      ++k;
    }
    with_rows<M>(block.rows, [&](auto m) {
      for (int64_t n = tiles.begin; n < tiles.end; ++n)
        tile<decltype(m)::count>(block, n, t, local);
    });
  }
  if (steps_.masked()) pass(t, rows, tiles, local);
  for (int64_t k = begin; k < stop; ++k) {
    const int64_t b = steps_.row(t, k);
    local.parity[b] ^= 1;
    local.pending[b] = variant_.hidden_zoneout ? kFollows | kHolds : kFollows;
  }
}

template <class V, class Real, class State>
template <int R>
inline void Backward<V, Real, State>::tile(const Block& block, int64_t n, int64_t t, Local local) {
  reg dh[R][N];
  clear<V, R, N>(dh);
  const int panels = static_cast<int>(std::min<int64_t>(N, s_.P - n * N));
  // What the forward pass kept comes from memory; the product hides the way.
  for (int m = 0; m < R; ++m) {
    for (int v = 0; v < panels; ++v) {
      const int64_t kept = ((t * s_.P + n * N + v) * s_.B + block.b[m]) * L;
      for (int k = 0; k < 4; ++k) V::prefetch(gates_ + kept * 4 + k * L);
      V::prefetch(cells_ + kept - (t > 0 ? s_.P * s_.B * L : 0));
      if (g_.d_states[CONVEYOR_HIDDEN_STATES])
        V::prefetch(static_cast<const Real*>(g_.d_states[CONVEYOR_HIDDEN_STATES]) +
                    at(block.b[m], t, n * N + v));
    }
  }
  if (block.follows) recurrent_product<R>(dh, block, n, t, local);
  if (usual_)
    pointwise_of_tile<R, true>(dh, block, n, t, panels, local);
  else
    pointwise_of_tile<R, false>(dh, block, n, t, panels, local);
}

template <class V, class Real, class State>
template <int R, bool kUsual>
inline void Backward<V, Real, State>::pointwise_of_tile(
    const reg (&dh)[R][N], const Block& block, int64_t n, int64_t t, int panels, Local local) {
#pragma GCC unroll 1
  for (int m = 0; m < R; ++m) {
    reg psi[N];
    psis(psi, block.b[m], n * N, t, panels);
    const bool holds = local.pending[block.b[m]] & kHolds;
    A* const last = last_[local.parity[block.b[m]] ^ 1] + block.b[m] * stride_;
#pragma GCC unroll 1
    for (int v = 0; v < panels; ++v) {
      if constexpr (kUsual)
        usual_pointwise(dh[m][v], psi[v], block.b[m], block.in_chunk[m], n * N + v, t, holds, last);
      else
        general_pointwise(dh[m][v], psi[v], block.b[m], block.in_chunk[m], n * N + v, t, holds,
                          last);
    }
  }
}

// psi(c) of some panels of a row.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::psis(reg (&psi)[N], int64_t b, int64_t p, int64_t t,
                                           int panels) const {
  for (int v = 0; v < N; ++v)
    psi[v] = v < panels ? StateIo::load(cells_ + ((t * s_.P + p + v) * s_.B + b) * L, L)
                        : V::zero();
  variant_.psi.apply(psi);
}

// dz of the step after, times R^T, with the factors of the recurrent dropout.
template <class V, class Real, class State>
template <int R>
inline void Backward<V, Real, State>::recurrent_product(reg (&dh)[R][N], const Block& block,
                                                        int64_t n, int64_t t, Local local) {
  const A* rows[R];
  for (int m = 0; m < R; ++m) rows[m] = last_[local.parity[block.b[m]]] + block.b[m] * stride_;
  const A* w = recurrent_ + n * read_width_ * N * L;
  if (l_.recurrent_dropout_masks != 4) {
    accumulate<V, R, N>(dh, rows, w, read_width_);
    if (l_.recurrent_dropout_masks) scale_hidden<R>(dh, dh, block, n, t, 0);
    return;
  }
  for (int g = 0; g < 4; ++g) {
    reg one[R][N], sum[R][N];
    clear<V, R, N>(sum);
    for (int64_t p = 0; p < s_.P; ++p) {
      const A* part[R];
      const int64_t at = (p * 4 + g) * L / kPair;
      for (int m = 0; m < R; ++m) part[m] = rows[m] + at;
      add_product<V, R, N>(sum, part, w + at * N * L, L / kPair);
    }
    copy<V, R, N>(sum, one);
    scale_hidden<R>(one, one, block, n, t, g);
    for (int m = 0; m < R; ++m)
      for (int v = 0; v < N; ++v) dh[m][v] = V::add(dh[m][v], one[m][v]);
  }
}

// Times the dropout mask; and its own gradient, the product times h before the step after.
template <class V, class Real, class State>
template <int R>
inline void Backward<V, Real, State>::scale_hidden(
    reg (&from)[R][N], reg (&to)[R][N], const Block& block, int64_t n, int64_t t, int g) {
  const auto* masks = static_cast<const Real*>(l_.recurrent_dropout_mask);
  auto* d_masks = static_cast<Real*>(g_.d_recurrent_dropout_mask);
  for (int m = 0; m < R; ++m) {
    for (int v = 0; v < N && n * N + v < s_.HP; ++v) {
      const int64_t p = n * N + v;
      const int64_t at = (g * s_.B + block.b[m]) * s_.H + p * L;
      if (d_masks) {
        T* sum = d_recurrent_ + ((g * s_.B + block.b[m]) * s_.HP + p) * L;
        V::store(sum, V::fma(from[m][v], hidden(block.b[m], t, p), V::load(sum)));
      }
      to[m][v] = V::mul(from[m][v], Io::load(masks + at, hidden_lanes(p)));
    }
  }
}

// The hidden state after step t; before the first step for t = -1.
template <class V, class Real, class State>
inline auto Backward<V, Real, State>::hidden(int64_t b, int64_t t, int64_t p) const -> reg {
  if (t >= 0)
    return Io::load(static_cast<const Real*>(g_.hidden_states) + (b * s_.T + t) * s_.H + p * L,
                    hidden_lanes(p));
  if (!l_.hidden_state) return V::zero();
  return Io::load(static_cast<const Real*>(l_.hidden_state) + b * s_.H + p * L, hidden_lanes(p));
}

// The hidden state that step t of a row begins with; null for zeros.
template <class V, class Real, class State>
inline auto Backward<V, Real, State>::hidden_before(int64_t b, int64_t t) const -> const Real* {
  const int reset = steps_.reset(b, t);
  if (reset == CONVEYOR_AT_ZERO) return nullptr;
  if (t > 0 && !reset) return static_cast<const Real*>(g_.hidden_states) + (b * s_.T + t - 1) * s_.H;
  return l_.hidden_state ? static_cast<const Real*>(l_.hidden_state) + b * s_.H : nullptr;
}

// Likewise the cell state, of a panel.
template <class V, class Real, class State>
inline __attribute__((always_inline)) auto Backward<V, Real, State>::cell_before(
    int64_t b, int64_t t, int64_t p) const -> reg {
  const int reset = steps_.reset(b, t);
  if (t > 0 && !reset) return StateIo::load(cells_ + (((t - 1) * s_.P + p) * s_.B + b) * L, L);
  if (reset == CONVEYOR_AT_ZERO || !l_.cell_state) return V::zero();
  return StateIo::load(static_cast<const State*>(l_.cell_state) + b * s_.U + p * L, lanes(p));
}

// The plain LSTM with its usual activations, where no gradient arrives but at hidden states.
template <class V, class Real, class State>
inline __attribute__((always_inline)) void Backward<V, Real, State>::usual_pointwise(
    reg dh, reg tanh_c, int64_t b, int64_t in_chunk, int64_t p, int64_t t, bool holds, A* last) {
  using Act = Activation<V>;
  const int n = lanes(p);
  if (holds) dh = V::add(dh, V::load(dh_ + (p * s_.B + b) * L));
  dh = arriving(CONVEYOR_HIDDEN_STATES, dh, b, t, p, n);
  T* dc_at = dc_ + (p * s_.B + b) * L;
  const reg dc = V::load(dc_at);

  const int64_t kept = ((t * s_.P + p) * s_.B + b) * L;
  const Real* gates = gates_ + kept * 4;
  const reg i = Io::load(gates, L), f = Io::load(gates + L, L), g = Io::load(gates + 2 * L, L),
            o = Io::load(gates + 3 * L, L);
  const reg before = cell_before(b, t, p);

  const reg through = V::fma(V::mul(dh, o), Act::slope(CONVEYOR_TANH, tanh_c), dc);
  V::store(dc_at, V::mul(through, f));
  const auto sigma = [](reg y) { return Act::slope(CONVEYOR_SIGMOID, y); };
  const reg dz[4] = {V::mul(V::mul(through, g), sigma(i)), V::mul(V::mul(through, before), sigma(f)),
                     V::mul(V::mul(through, i), Act::slope(CONVEYOR_TANH, g)),
                     V::mul(V::mul(dh, tanh_c), sigma(o))};
  keep_dz(dz, in_chunk, p, n, last);
}

template <class V, class Real, class State>
inline __attribute__((always_inline)) void Backward<V, Real, State>::keep_dz(
    const reg (&dz)[4], int64_t in_chunk, int64_t p, int n, A* last) {
  A* chunk = dz_ + (p * chunk_rows_ + in_chunk) * kDz;
  for (int k = 0; k < 4; ++k) {
    const reg value = n == L ? dz[k] : V::first(dz[k], n);
    Read::store(chunk, k * L, value);
    Read::store(last, (p * 4 + k) * L, value);
  }
}

template <class V, class Real, class State>
inline auto Backward<V, Real, State>::arriving(int state, reg d, int64_t b, int64_t t, int64_t p,
                                               int n) const -> reg {
  if (!g_.d_states[state]) return d;
  return V::add(d, Io::load(static_cast<const Real*>(g_.d_states[state]) + at(b, t, p), n));
}

// Past a masked step both gradients go unchanged, and what arrives at its states is added.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::pass(int64_t t, Range rows, Range tiles, Local local) {
  const int64_t n = steps_.count(t);
  int64_t k = 0;
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    while (k < n && steps_.row(t, k) < b) ++k;
    if (k < n && steps_.row(t, k) == b) continue;
    const bool holds = local.pending[b] & kHolds;
    for (int64_t p = tiles.begin * N; p < std::min(s_.P, tiles.end * N); ++p) {
      T* dh = dh_ + (p * s_.B + b) * L;
      T* dc = dc_ + (p * s_.B + b) * L;
      V::store(dh, arriving(CONVEYOR_HIDDEN_STATES, holds ? V::load(dh) : V::zero(), b, t, p,
                            lanes(p)));
      V::store(dc, arriving(CONVEYOR_CELL_STATES, V::load(dc), b, t, p, lanes(p)));
    }
    local.pending[b] |= kHolds;
  }
}

// What arrived at the hidden state that a row began with, of a tile.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::arrived_at(reg (&sum)[N], int64_t b, int64_t n,
                                                 Local local) {
  reg dh[1][N];
  clear<V, 1, N>(dh);
  Block block{1, true, {b}, {0}};
  if ((g_.d_hidden_state || g_.d_recurrent_dropout_mask) && (local.pending[b] & kFollows))
    recurrent_product<1>(dh, block, n, -1, local);
  for (int v = 0; v < N; ++v) {
    const int64_t p = n * N + v;
    sum[v] = p < s_.HP && (local.pending[b] & kHolds)
                 ? V::add(dh[0][v], V::load(dh_ + (p * s_.B + b) * L))
                 : dh[0][v];
  }
}

// Nothing goes past a step at which a row began anew; where at the states before the first step,
// it arrives there.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::restart(int64_t t, Range rows, Range tiles, Local local) {
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    const int reset = steps_.reset(b, t);
    if (reset == CONVEYOR_GO_ON) continue;
    for (int64_t n = tiles.begin; n < tiles.end; ++n) {
      reg dh[N];
      if (reset == CONVEYOR_AT_THE_START) arrived_at(dh, b, n, local);
      for (int64_t p = n * N; p < std::min(s_.P, (n + 1) * N); ++p) {
        const int64_t at = (p * s_.B + b) * L;
        if (reset == CONVEYOR_AT_THE_START) {
          V::store(dh_start_ + at, V::add(V::load(dh_start_ + at), dh[p - n * N]));
          V::store(dc_start_ + at, V::add(V::load(dc_start_ + at), V::load(dc_ + at)));
        }
        V::store(dc_ + at, V::zero());
      }
    }
    local.pending[b] = 0;
  }
}

// What is left before the first step.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::finish(Range rows, Range tiles, Local local) {
  auto* dh0 = static_cast<Real*>(g_.d_hidden_state);
  auto* dc0 = static_cast<State*>(g_.d_cell_state);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    for (int64_t n = tiles.begin; n < tiles.end; ++n) {
      reg dh[N];
      arrived_at(dh, b, n, local);
      for (int64_t p = n * N; p < std::min(s_.P, (n + 1) * N); ++p) {
        const int64_t at = (p * s_.B + b) * L, to = b * s_.U + p * L;
        reg dc = V::load(dc_ + at);
        if (dh_start_) {
          dh[p - n * N] = V::add(dh[p - n * N], V::load(dh_start_ + at));
          dc = V::add(dc, V::load(dc_start_ + at));
        }
        if (dh0) Io::store(dh0 + to, dh[p - n * N], lanes(p));
        if (dc0) StateIo::store(dc0 + to, dc, lanes(p));
      }
    }
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
