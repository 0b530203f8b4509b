// The GRU's backward pass: the large products after a chunk, what they read, and what they write.
#pragma once

#include "kernels/gru_backward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// Packs weights, takes what arrives at the last state, and clears what is not computed.
template <class V, class Real>
inline void GruBackward<V, Real>::prepare(Team& team, int member) {
  const auto* recurrent = static_cast<const Real*>(g_.recurrent_kernel);
  const auto* kernel = static_cast<const Real*>(g_.kernel);
  constexpr int kInOrder[] = {2, 0, 1};  // dg, dz, dr
  const Range panels = share(s_.P, team.size(), member);
  for (int64_t p = panels.begin; p < panels.end; ++p)
    for (int g = 0; g < 3; ++g) {
      for (int64_t n = 0; n < tiles_; ++n)
        pack_gate_transposed<V>(recurrent, s_.U, s_.U, n * N * L, N, p, g,
                                recurrent_ + weights_at(n, p, g));
      for (int64_t n = 0; wants_x_ && n < x_tiles_; ++n)
        pack_gate_transposed<V>(kernel, s_.F, s_.U, n * N * L, N, p, kInOrder[g],
                                kernel_ + weights_at(n, p, g));
    }
  const Range rows = share(s_.B, team.size(), member);
  const auto* last = static_cast<const Real*>(d_.d_states[CONVEYOR_GRU_HIDDEN_STATE]);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    for (int64_t p = 0; p < s_.P; ++p)
      V::store(dh(b, p), last ? Io::load(last + b * s_.U + p * L, lanes(p)) : V::zero());
    for (int64_t t = 0; d_.d_x && steps_.masked() && t < s_.T; ++t)
      if (!g_.mask[b * s_.T + t])
        std::memset(static_cast<void*>(static_cast<Real*>(d_.d_x) + (b * s_.T + t) * s_.F), 0,
                    s_.F * sizeof(Real));
  }
}

// Where the rows of the chunk come from, and x, h' and r * h' of each; every member a part.
template <class V, class Real>
inline void GruBackward<V, Real>::gather(int64_t begin, int64_t end, Team& team, int member) {
  for (int64_t t = end - 1; t >= begin; --t) {
    const Range part = share(steps_.count(t), team.size(), member);
    for (int64_t k = part.begin; k < part.end; ++k) {
      const int64_t at = steps_.before(end) - steps_.before(t + 1) + k;
      places_[at] = {t, steps_.row(t, k)};
      if (wants_weights_) gather_row(steps_.row(t, k), t, at);
    }
  }
}

template <class V, class Real>
inline void GruBackward<V, Real>::gather_row(int64_t b, int64_t t, int64_t at) {
  const auto* x = static_cast<const Real*>(g_.x) + (b * s_.T + steps_.time(t)) * s_.F;
  const auto* h = hidden_before(b, t);
  const auto* masks = static_cast<const Real*>(g_.dropout_mask);
  const auto* state_masks = static_cast<const Real*>(g_.recurrent_dropout_mask);
  for (int plane = 0; plane < planes_; ++plane) {
    T* to = input_ + (plane * chunk_rows_ + at) * input_row_;
    const int64_t x_row = (x_gates_ == 3 ? plane * s_.B : 0) + b;
    const int64_t h_row = (h_gates_ == 3 ? plane * s_.B : 0) + b;
    for (int64_t f = 0; f < s_.F; f += L) {
      const int n = static_cast<int>(std::min<int64_t>(L, s_.F - f));
      reg value = Io::load(x + f, n);
      if (masks) value = V::mul(value, Io::load(masks + x_row * s_.F + f, n));
      V::store_n(to + f, value, n);
    }
    to += s_.F;
    for (int64_t p = 0; p < s_.P; ++p) {
      const int n = lanes(p);
      reg value = h ? Io::load(h + p * L, n) : V::zero();
      if (state_masks) value = V::mul(value, Io::load(state_masks + h_row * s_.U + p * L, n));
      V::store_n(to + p * L, value, n);
      if (!after_) V::store_n(to + s_.U + p * L, V::mul(value, reset_gates(b, t, p)), n);
    }
    std::fill(to + (after_ ? 1 : 2) * s_.U, to + (after_ ? 1 : 2) * s_.U + K, T(0));
  }
}

template <class V, class Real>
inline void GruBackward<V, Real>::input_gradient(int64_t count, Team& team, int member) {
  // A mask's own gradient sums over time: one member does all then.
  const bool alone = d_dropout_ != nullptr;
  if (alone && member) return;
  const Range rows = alone ? Range{0, count} : share(count, team.size(), member);
  const int64_t blocks = (rows.size() + M - 1) / M;
  for (int64_t n = 0; n < x_tiles_; ++n)
    for (int64_t k = 0; k < blocks && !(k % 16 == 0 && stop_.skip(member)); ++k) {
      const Range r = share(rows.size(), blocks, k);
      with_rows<M>(static_cast<int>(r.size()), [&](auto m) {
        input_tile<decltype(m)::count>(rows.begin + r.begin, n);
      });
    }
}

template <class V, class Real>
template <int R>
inline void GruBackward<V, Real>::input_tile(const int64_t row, int64_t n) {
  constexpr int kGate[] = {2, 0, 1};
  const auto* masks = static_cast<const Real*>(g_.dropout_mask);
  Block block;
  block.rows = R;
  for (int m = 0; m < R; ++m) block.at[m] = row + m, block.b[m] = places_[row + m].b;
  reg dx[R][N];
  clear<V, R, N>(dx);
  for (int g = 0; g < x_gates_; ++g) {
    reg acc[R][N];
    clear<V, R, N>(acc);
    product<R>(acc, block, kernel_ + weights_at(n, 0, g), kG + g, x_gates_ == 3 ? 1 : 3);
    for (int m = 0; m < R; ++m)
      for (int v = 0; v < N; ++v) {
        const int64_t f = (n * N + v) * L;
        if (masks && f < s_.F) {
          const int lanes = static_cast<int>(std::min<int64_t>(L, s_.F - f));
          const int64_t at =
              ((x_gates_ == 3 ? kGate[g] * s_.B : 0) + block.b[m]) * s_.F + f;
          if (d_dropout_) {
            const auto* x = static_cast<const Real*>(g_.x) +
                            (block.b[m] * s_.T + steps_.time(places_[row + m].t)) * s_.F + f;
            V::store_n(d_dropout_ + at,
                       V::fma(acc[m][v], Io::load(x, lanes), V::load_n(d_dropout_ + at, lanes)),
                       lanes);
          }
          acc[m][v] = V::mul(acc[m][v], Io::load(masks + at, lanes));
        }
        dx[m][v] = V::add(dx[m][v], acc[m][v]);
      }
  }
  for (int m = 0; d_.d_x && m < R; ++m) {
    const Place place = places_[row + m];
    Real* to = static_cast<Real*>(d_.d_x) + (place.b * s_.T + steps_.time(place.t)) * s_.F;
    for (int64_t f = n * N * L, v = 0; v < N && f < s_.F; ++v, f += L)
      Io::store(to + f, dx[m][v], static_cast<int>(std::min<int64_t>(L, s_.F - f)));
  }
}

// [x h']^T [dg dz dr ds] of the chunk, added; panel by panel, so that members never share a sum.
template <class V, class Real>
inline void GruBackward<V, Real>::weight_gradient(int64_t count, Team& team, int member) {
  const int64_t plane = chunk_rows_ * input_row_;
  const Range panels = share(s_.P, team.size(), member);
  for (int64_t p = panels.begin; p < panels.end && !stop_.skip(member); ++p) {
    for (int v = 0; v < 4; ++v) {
      T* sum = biases_ + (p * 4 + v) * L;
      reg all = V::load(sum);
      for (int64_t k = 0; k < count; ++k) all = V::add(all, V::load(dz(p, k) + v * L));
      V::store(sum, all);
    }
    if (x_gates_ == 3) {
      for (int g = 0; g < 3; ++g)
        weights_of(input_ + g * plane, s_.F, p, g == 2 ? kG : kZ + g, 1, 0, count);
    } else {
      weights_of(input_, s_.F, p, kG, 3, 0, count);
    }
    const T* h = input_ + s_.F;
    if (h_gates_ == 3) {
      for (int g = 0; g < (after_ ? 3 : 2); ++g)
        weights_of(h + g * plane, s_.U, p, kZ + g, 1, s_.F, count);
    } else {
      weights_of(h, s_.U, p, kZ, after_ ? 3 : 2, s_.F, count);
    }
    if (!after_)
      weights_of(h + s_.U + (h_gates_ == 3 ? 2 * plane : 0), s_.U, p, kG, 1, s_.F, count);
  }
}

// Those of `width` inputs, to the gates of which `first` is the first in a row of a panel; `to` is
// the first row of the sums.
template <class V, class Real>
inline void GruBackward<V, Real>::weights_of(const T* input, int64_t width, int64_t p, int first,
                                             int gates, int64_t to, int64_t count) {
  for (int64_t k = 0; k < width; k += K) {
    T* sums = weights_ + (p * (s_.F + s_.U) + to + k) * 3 * L;
    const T* from = dz(p, 0) + first * L;
    with_rows<K>(static_cast<int>(std::min<int64_t>(K, width - k)), [&](auto m) {
      constexpr int R = decltype(m)::count;
      if (gates == 3)
        weight_tile<R, 3>(input + k, from, sums, first, count);
      else if (gates == 2)
        weight_tile<R, 2>(input + k, from, sums, first, count);
      else
        weight_tile<R, 1>(input + k, from, sums, first, count);
    });
  }
}

template <class V, class Real>
template <int R, int G>
inline void GruBackward<V, Real>::weight_tile(const T* input, const T* dz, T* sums, int first,
                                              int64_t count) const {
  constexpr int kGate[] = {2, 0, 1, 2};  // in the order of a row of a panel
  reg acc[R][G];
#pragma GCC unroll 8
  for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) acc[m][g] = V::zero();
  for (int64_t k = 0; k < count; ++k, input += input_row_, dz += 4 * L) {
    reg column[G];
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) column[g] = V::load(dz + g * L);
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m) {
      const reg value = V::broadcast(input + m);
#pragma GCC unroll 8
      for (int g = 0; g < G; ++g) acc[m][g] = V::fma(value, column[g], acc[m][g]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) {
      T* to = sums + (m * 3 + kGate[first + g]) * L;
      V::store(to, V::add(V::load(to), acc[m][g]));
    }
}

// In Keras's order.
template <class V, class Real>
inline void GruBackward<V, Real>::write_weights(const Team& team, int member) {
  if (!wants_weights_) return;
  const Range panels = share(s_.P, team.size(), member);
  // The members that summed these up are the ones that write them: no meeting in between.
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    const T* sums = weights_ + p * (s_.F + s_.U) * 3 * L;
    for (int64_t k = 0; k < s_.F + s_.U; ++k) {
      Real* to = static_cast<Real*>(k < s_.F ? d_.d_kernel : d_.d_recurrent_kernel);
      if (!to) continue;
      to += (k < s_.F ? k : k - s_.F) * 3 * s_.U + p * L;
      for (int g = 0; g < 3; ++g)
        Io::store(to + g * s_.U, V::load(sums + (k * 3 + g) * L), lanes(p));
    }
    auto* bias = static_cast<Real*>(d_.d_bias);
    if (!bias) continue;
    constexpr int kRow[2][3] = {{kZ, kR, kG}, {kZ, kR, kS}};
    for (int of = 0; of < (after_ ? 2 : 1); ++of)
      for (int g = 0; g < 3; ++g)
        Io::store(bias + (of * 3 + g) * s_.U + p * L,
                  V::load(biases_ + (p * 4 + kRow[of][g]) * L), lanes(p));
  }
}

template <class V, class Real>
inline void GruBackward<V, Real>::write_masks() {
  if (d_dropout_)
    for (int64_t k = 0; k < g_.dropout_masks * s_.B * s_.F; ++k)
      store(static_cast<Real*>(d_.d_dropout_mask) + k, d_dropout_[k]);
  if (d_recurrent_)
    for (int64_t r = 0; r < g_.recurrent_dropout_masks * s_.B; ++r)
      for (int64_t u = 0; u < s_.U; ++u)
        store(static_cast<Real*>(d_.d_recurrent_dropout_mask) + r * s_.U + u,
              d_recurrent_[r * s_.padded + u]);
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
