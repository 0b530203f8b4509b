// The GRU's backward pass: one step.
#pragma once

#include "kernels/gru_backward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real>
inline void GruBackward<V, Real>::step(int64_t t, int64_t end, Range rows, Range tiles, Team& team,
                                       int member, bool by_rows) {
  const Range active = active_rows(steps_, t, rows);
  const Range panels{tiles.begin * N, std::min(s_.P, tiles.end * N)};
  const int64_t first = steps_.before(end) - steps_.before(t + 1);
  if (d_.d_states[CONVEYOR_GRU_HIDDEN_STATES]) pass(t, rows, panels);
  for (int64_t k = active.begin; k < active.end; ++k)
    for (int64_t p = panels.begin; p < panels.end; ++p)
      pointwise(steps_.row(t, k), t, first + k, p);
  if (!by_rows) team.barrier();
  if (!after_) {
    for (int64_t n = tiles.begin; n < tiles.end && !stop_.skip(member); ++n)
      each_block(t, end, active, [&](auto m, const Block& block) {
        through_reset<decltype(m)::count>(block, n, t);
      });
    if (!by_rows) team.barrier();
  }
  for (int64_t n = tiles.begin; n < tiles.end && !stop_.skip(member); ++n)
    each_block(t, end, active, [&](auto m, const Block& block) {
      to_state<decltype(m)::count>(block, n, t);
    });
}

// What arrives at the hidden states, of masked steps too.
template <class V, class Real>
inline void GruBackward<V, Real>::pass(int64_t t, Range rows, Range panels) {
  for (int64_t b = rows.begin; b < rows.end; ++b)
    for (int64_t p = panels.begin; p < panels.end; ++p)
      V::store(dh(b, p), V::add(V::load(dh(b, p)),
                                arriving(CONVEYOR_GRU_HIDDEN_STATES, b, t, p)));
}

// From h = z * h' + (1 - z) * g to the inputs of the gates; without reset_after all but the reset
// gate's, which waits for a product.
template <class V, class Real>
inline void GruBackward<V, Real>::pointwise(int64_t b, int64_t t, int64_t at, int64_t p) {
  const Function<V>&sigma = functions_.sigma, &phi = functions_.phi;
  const reg in_z = kept(kUpdate, b, t, p), in_g = kept(kCandidate, b, t, p);
  const reg z = functions_.value(sigma, in_z), g = functions_.value(phi, in_g);
  const reg d = V::load(dh(b, p)), h = hidden(b, t, p);
  const reg to_z = V::fma(d, V::sub(h, g), arriving(CONVEYOR_GRU_UPDATE_GATES, b, t, p));
  const reg to_g = V::fma(d, V::sub(V::set1(1), z), arriving(CONVEYOR_GRU_CANDIDATES, b, t, p));
  const reg dg = V::mul(to_g, functions_.slope(phi, in_g, g));
  T* to = dz(p, at);
  V::store(to + kG * L, dg);
  V::store(to + kZ * L, V::mul(to_z, functions_.slope(sigma, in_z, z)));
  V::store(dh(b, p), V::mul(d, z));
  if (!after_) return;
  const reg in_r = kept(kReset, b, t, p), r = functions_.value(sigma, in_r);
  const reg of_state = kept(kOfState, b, t, p);
  const reg to_r = V::fma(dg, of_state, arriving(CONVEYOR_GRU_RESET_GATES, b, t, p));
  V::store(to + kR * L, V::mul(to_r, functions_.slope(sigma, in_r, r)));
  V::store(to + kS * L, V::mul(dg, r));
}

// acc += the vectors first..first+count of all panels times w, [P][3][L][N][L] from its gate on.
template <class V, class Real>
template <int R>
inline __attribute__((always_inline)) void GruBackward<V, Real>::product(
    reg (&acc)[R][N], const Block& block, const T* w, int first, int count) const {
  for (int64_t p = 0; p < s_.P; ++p) {
    const T* rows[R];
    for (int m = 0; m < R; ++m) rows[m] = dz(p, block.at[m]) + first * L;
    accumulate<V, R, N>(acc, rows, w + p * 3 * L * N * L, int64_t{count} * L);
  }
}

// What has arrived at a factor h' * mask of gate g, which read `read`, at the factor's left.
template <class V, class Real>
inline auto GruBackward<V, Real>::dropped(reg d, reg read, int g, int64_t b, int64_t p) -> reg {
  if (!g_.recurrent_dropout_masks) return d;
  const int64_t row = (h_gates_ == 3 ? g * s_.B : 0) + b;
  if (d_recurrent_) {
    T* sum = d_recurrent_ + row * s_.padded + p * L;
    V::store(sum, V::fma(d, read, V::load(sum)));
  }
  const auto* mask = static_cast<const Real*>(g_.recurrent_dropout_mask);
  return V::mul(d, Io::load(mask + row * s_.U + p * L, lanes(p)));
}

// Without reset_after: from the candidates to r * h', and so to the reset gates and h'.
template <class V, class Real>
template <int R>
inline void GruBackward<V, Real>::through_reset(const Block& block, int64_t n, int64_t t) {
  reg acc[R][N];
  clear<V, R, N>(acc);
  product<R>(acc, block, recurrent_ + weights_at(n, 0, 2), kG, 1);
  for (int m = 0; m < R; ++m) {
    const int64_t b = block.b[m];
    for (int64_t p = n * N; p < std::min(s_.P, (n + 1) * N); ++p) {
      const reg in_r = kept(kReset, b, t, p), r = functions_.value(functions_.sigma, in_r);
      const reg h = hidden(b, t, p);
      const reg d = dropped(acc[m][p - n * N], V::mul(r, h), 2, b, p);
      const reg to_r = V::fma(d, h, arriving(CONVEYOR_GRU_RESET_GATES, b, t, p));
      T* to = dz(p, block.at[m]);
      V::store(to + kR * L, V::mul(to_r, functions_.slope(functions_.sigma, in_r, r)));
      V::store(to + kS * L, V::zero());
      V::store(dh(b, p), V::fma(d, r, V::load(dh(b, p))));
    }
  }
}

// To h' by way of the recurrent kernel.
template <class V, class Real>
template <int R>
inline void GruBackward<V, Real>::to_state(const Block& block, int64_t n, int64_t t) {
  const int gates = after_ ? 3 : 2, parts = h_gates_ == 3 ? gates : 1;
  for (int g = 0; g < parts; ++g) {
    reg acc[R][N];
    clear<V, R, N>(acc);
    product<R>(acc, block, recurrent_ + weights_at(n, 0, g), kZ + g, parts == 1 ? gates : 1);
    for (int m = 0; m < R; ++m) {
      const int64_t b = block.b[m];
      for (int64_t p = n * N; p < std::min(s_.P, (n + 1) * N); ++p) {
        const reg read = d_recurrent_ ? hidden(b, t, p) : V::zero();
        V::store(dh(b, p), V::add(V::load(dh(b, p)), dropped(acc[m][p - n * N], read, g, b, p)));
      }
    }
  }
}

// No gradient goes past where a row began anew; where at the state before the first step, it
// arrives there.
template <class V, class Real>
inline void GruBackward<V, Real>::restart(int64_t t, Range rows, Range tiles) {
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    const int reset = steps_.reset(b, t);
    if (reset == CONVEYOR_GO_ON) continue;
    for (int64_t p = tiles.begin * N; p < std::min(s_.P, tiles.end * N); ++p) {
      if (reset == CONVEYOR_AT_THE_START) {
        T* start = dh_start_ + b * s_.padded + p * L;
        V::store(start, V::add(V::load(start), V::load(dh(b, p))));
      }
      V::store(dh(b, p), V::zero());
    }
  }
}

// What is left before the first step.
template <class V, class Real>
inline void GruBackward<V, Real>::finish(Range rows, Range tiles) {
  auto* to = static_cast<Real*>(d_.d_hidden_state);
  for (int64_t b = rows.begin; to && b < rows.end; ++b)
    for (int64_t p = tiles.begin * N; p < std::min(s_.P, tiles.end * N); ++p) {
      reg d = V::load(dh(b, p));
      if (dh_start_) d = V::add(d, V::load(dh_start_ + b * s_.padded + p * L));
      Io::store(to + b * s_.U + p * L, d, lanes(p));
    }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
