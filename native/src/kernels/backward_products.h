// The backward pass: the large products after a chunk. Gradients of inputs, weights and masks.
#pragma once

#include <cstring>

#include "kernels/backward.h"
#include "kernels/tile.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// For steps of the chunk that goes up to `chunk_end`.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::input_gradient(int64_t begin, int64_t end, int64_t chunk_end,
                                                     Team& team, int member) {
  // A mask's own gradient sums over time: one member does all then.
  const bool alone = g_.d_dropout_mask != nullptr;
  if (alone && member) return;
  if (steps_.masked() && g_.d_x)
    for (int64_t t = begin; t < end; ++t) zero_masked(t, team, member, alone);
  const int64_t K = steps_.before(end) - steps_.before(begin);
  const Range part = alone ? Range{0, K} : share(K, team.size(), member);
  const int64_t first = steps_.before(chunk_end) - steps_.before(end);
  const Range rows{first + part.begin, first + part.end};
  const int64_t blocks = (rows.size() + M - 1) / M;
  for (int64_t n = 0; n < x_tiles_; ++n) {
    Walk walk(steps_, end, part.begin);
    for (int64_t k = 0; k < blocks && !(k % 16 == 0 && stop_.skip(member)); ++k) {
      const Range r = share(rows.size(), blocks, k);
      Place places[M];
      for (int64_t m = 0; m < r.size(); ++m) places[m] = walk.next();
      with_rows<M>(static_cast<int>(r.size()), [&](auto m) {
        input_tile<decltype(m)::count>(places, rows.begin + r.begin, n);
      });
    }
  }
}

template <class V, class Real, class State>
inline void Backward<V, Real, State>::zero_masked(int64_t t, Team& team, int member, bool alone) {
  const Range rows = alone ? Range{0, s_.B} : share(s_.B, team.size(), member);
  const int64_t time = steps_.time(t);
  for (int64_t b = rows.begin; b < rows.end; ++b)
    if (!l_.mask[b * s_.T + time])
      std::memset(static_cast<Real*>(g_.d_x) + (b * s_.T + time) * s_.F, 0,
                  s_.F * sizeof(Real));
}

template <class V, class Real, class State>
template <int R>
inline void Backward<V, Real, State>::input_tile(const Place* places, int64_t row, int64_t n) {
  // A narrow last tile computes only the vectors that it needs.
  const int64_t vectors = std::min<int64_t>(N, (s_.F - n * N * L + L - 1) / L);
  if (vectors <= N / 4)
    input_tile_of<R, (N >= 4 ? N / 4 : 1)>(places, row, n);
  else if (vectors <= N / 2)
    input_tile_of<R, (N >= 2 ? N / 2 : 1)>(places, row, n);
  else
    input_tile_of<R, N>(places, row, n);
}

template <class V, class Real, class State>
template <int R, int W>
inline void Backward<V, Real, State>::input_tile_of(const Place* places, int64_t row, int64_t n) {
  reg dx[R][W];
  clear<V, R, W>(dx);
  const A* w = kernel_ + n * read_width_ * N * L;
  const int masks = l_.dropout_masks;
  for (int g = 0; g < (masks == 4 ? 4 : 1); ++g) {
    reg one[R][W], sum[R][W];
    clear<V, R, W>(sum);
    for (int64_t p = 0; p < s_.P; ++p) {
      const A* rows[R];
      const int64_t at = masks == 4 ? g * L / kPair : 0;
      for (int m = 0; m < R; ++m)
        rows[m] = dz_ + (p * chunk_rows_ + row + m) * kDz + at;
      accumulate_wide<R, W>(sum, rows, w + (p * kDz + at) * N * L, masks == 4 ? L / kPair : kDz);
    }
    copy<V, R, W>(sum, one);
    for (int m = 0; m < R; ++m) {
      for (int v = 0; v < W; ++v) {
        if (masks)
          one[m][v] = scale_input(one[m][v], places[m].b, places[m].t, g, (n * N + v) * L);
        dx[m][v] = V::add(dx[m][v], one[m][v]);
      }
    }
  }
  if (!g_.d_x) return;
  for (int m = 0; m < R; ++m) {
    Real* to = static_cast<Real*>(g_.d_x) +
               (places[m].b * s_.T + steps_.time(places[m].t)) * s_.F;
    for (int v = 0; v < W; ++v) {
      const int64_t f = (n * N + v) * L;
      if (f < s_.F)
        Io::store(to + f, dx[m][v], static_cast<int>(std::min<int64_t>(L, s_.F - f)));
    }
  }
}

// As add_product, of W of the N vectors that w holds a row.
template <class V, class Real, class State>
template <int R, int W>
inline __attribute__((always_inline)) void Backward<V, Real, State>::accumulate_wide(
    reg (&acc)[R][W], const A* const (&rows)[R], const A* w, int64_t K) {
  if constexpr (W == N) {
    add_product<V, R, N>(acc, rows, w, K);
  } else {
    for (int64_t k = 0; k < K; ++k, w += N * L) {
#pragma GCC unroll 8
      for (int v = 0; v < W; ++v) {
        const reg column = V::weights(w + v * L);
#pragma GCC unroll 8
        for (int m = 0; m < R; ++m)
          acc[m][v] = V::dot(V::broadcast(rows[m] + k), column, acc[m][v]);
      }
    }
  }
}

template <class V, class Real, class State>
inline auto Backward<V, Real, State>::scale_input(reg dx, int64_t b, int64_t t, int g,
                                                  int64_t f) -> reg {
  if (f >= s_.F) return dx;
  const int n = static_cast<int>(std::min<int64_t>(L, s_.F - f));
  const int64_t at = ((l_.dropout_masks == 4 ? g * s_.B : 0) + b) * s_.F + f;
  if (g_.d_dropout_mask) {
    const Real* x = static_cast<const Real*>(l_.x) + (b * s_.T + steps_.time(t)) * s_.F + f;
    T* sum = d_dropout_ + at;
    V::store_n(sum, V::fma(dx, Io::load(x, n), V::load_n(sum, n)), n);
  }
  return V::mul(dx, Io::load(static_cast<const Real*>(l_.dropout_mask) + at, n));
}

// [x h' 1]^T dz of the chunk, added; panel by panel, so that members never share a sum.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::weight_gradient(int64_t begin, int64_t end, Team& team,
                                                      int member) {
  const int64_t K = (steps_.before(end) - steps_.before(begin) + kPair - 1) / kPair;
  if (K == 0) return;
  // Between chunks sums are kept as tiles have them; the last one writes the gradients.
  const bool first = steps_.before(s_.T) == steps_.before(end), last = steps_.before(begin) == 0;
  const int64_t blocks = (inputs_ + M - 1) / M;
  if (by_gate()) {
    const Range part = share((s_.P + 3) / 4 * blocks, team.size(), member);
    // One after the other, so that what all read is no larger than without masks: with the rows of
    // four gates at once the backward pass of 64 x 50 steps of 256 units took a quarter longer.
    for (int g = 0; g < 4; ++g) {
      if (g > 0) {
        team.barrier();
        gather(begin, end, g, team, member);
        team.barrier();
      }
      weight_gradient_of_gate(g, part, blocks, K, first, last, member);
    }
    return;
  }
  const Range part = share(s_.P * blocks, team.size(), member);
  for (int64_t n = part.begin; n < part.end && !stop_.skip(member); ++n) {
    const int64_t p = n / blocks, row = n % blocks * M;
    const A* dz = products_ + p * paired_rows() * 4 * L;
    T* sum = weights_ + (p * (inputs_ + M) + row) * 4 * L;
    reg acc[M][4];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) acc[m][g] = first ? V::zero() : V::load(sum + (m * 4 + g) * L);
    weight_product(acc, input_ + row, dz, K);
    if (last) {
      for (int m = 0; m < M && row + m < inputs_; ++m) write_weights(acc[m], row + m, p);
      continue;
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) V::store(sum + (m * 4 + g) * L, acc[m][g]);
  }
}

template <class V, class Real, class State>
inline void Backward<V, Real, State>::weight_product(reg (&sum)[M][4], const A* a, const A* dz,
                                                     int64_t K) {
  reg acc[M][4];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int g = 0; g < 4; ++g) acc[m][g] = sum[m][g];
  for (int64_t k = 0; k < K; ++k, a += input_row_, dz += 4 * L) {
    reg column[4];
#pragma GCC unroll 8
    for (int g = 0; g < 4; ++g) column[g] = V::weights(dz + g * L);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const reg value = V::broadcast(a + m);
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) acc[m][g] = V::dot(value, column[g], acc[m][g]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int g = 0; g < 4; ++g) sum[m][g] = acc[m][g];
}

// Where the rows of all gates are there at once.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::weight_product_by_gate(reg (&acc)[M][4], int64_t row,
                                                             const A* dz, int64_t K) {
  for (int g = 0; g < 4; ++g) {
    const A* a = input_ + g * paired_rows() * input_row_ + row;
    for (int64_t k = 0; k < K; ++k, a += input_row_) {
      const reg column = V::weights(dz + (k * 4 + g) * L);
      for (int m = 0; m < M; ++m) acc[m][g] = V::dot(V::broadcast(a + m), column, acc[m][g]);
    }
  }
}

// Where each gate has rows of its own, a tile is one gate of up to four panels.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::weight_gradient_of_gate(int g, Range part, int64_t blocks,
                                                              int64_t K, bool first, bool last,
                                                              int member) {
  for (int64_t n = part.begin; n < part.end && !stop_.skip(member); ++n) {
    const int64_t row = n % blocks * M;
    int64_t p = n / blocks * 4;
    const int64_t end = std::min(s_.P, p + 4);
    if (end - p == 4) {
      weight_products_of_gate<4>(g, p, row, K, first, last);
      continue;
    }
    if (end - p >= 2) weight_products_of_gate<2>(g, p, row, K, first, last), p += 2;
    if (end - p >= 1) weight_products_of_gate<1>(g, p, row, K, first, last);
  }
}

template <class V, class Real, class State>
template <int W>
inline void Backward<V, Real, State>::weight_products_of_gate(int g, int64_t p, int64_t row,
                                                              int64_t K, bool first, bool last) {
  const int64_t apart = paired_rows() * 4 * L;
  T* sums[W];
  for (int v = 0; v < W; ++v)
    sums[v] = weights_ + ((p + v) * (inputs_ + M) + row) * 4 * L + g * L;
  reg acc[M][W];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int v = 0; v < W; ++v) acc[m][v] = first ? V::zero() : V::load(sums[v] + m * 4 * L);
  const A* a = input_ + row;
  const A* dz = products_ + p * apart + g * L;
  for (int64_t k = 0; k < K; ++k, a += input_row_, dz += 4 * L) {
    reg column[W];
#pragma GCC unroll 8
    for (int v = 0; v < W; ++v) column[v] = V::weights(dz + v * apart);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const reg value = V::broadcast(a + m);
#pragma GCC unroll 8
      for (int v = 0; v < W; ++v) acc[m][v] = V::dot(value, column[v], acc[m][v]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < W; ++v) V::store(sums[v] + m * 4 * L, acc[m][v]);
  }
  for (int m = 0; last && m < M && row + m < inputs_; ++m)
    for (int v = 0; v < W; ++v)
      write_weights_of_gate(g, V::load(sums[v] + m * 4 * L), row + m, p + v);
}

// The gradients of one input's weights to the units of a panel, in Keras's order.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::write_weights(const reg (&sum)[4], int64_t row,
                                                    int64_t p) const {
  for (int g = 0; g < 4; ++g) write_weights_of_gate(g, sum[g], row, p);
}

template <class V, class Real, class State>
inline void Backward<V, Real, State>::write_weights_of_gate(int g, reg sum, int64_t row,
                                                            int64_t p) const {
  void* to = row < s_.F ? g_.d_kernel : row < s_.F + s_.H ? g_.d_recurrent_kernel : g_.d_bias;
  if (!to) return;
  const int64_t first = row < s_.F ? row : row < s_.F + s_.H ? row - s_.F : 0;
  Io::store(static_cast<Real*>(to) + (first * 4 + g) * s_.U + p * L, sum, lanes(p));
}

// Where no step counted.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::write_no_weights(const Team& team, int member) const {
  reg zeros[1][4];
  clear<V, 1, 4>(zeros);
  const Range part = share(inputs_, team.size(), member);
  for (int64_t row = part.begin; row < part.end; ++row)
    for (int64_t p = 0; p < s_.P; ++p) write_weights(zeros[0], row, p);
}

template <class V, class Real, class State>
inline void Backward<V, Real, State>::write_sums() {
  if (d_dropout_)
    for (int64_t k = 0; k < l_.dropout_masks * s_.B * s_.F; ++k)
      store(static_cast<Real*>(g_.d_dropout_mask) + k, d_dropout_[k]);
  if (d_recurrent_)
    for (int64_t r = 0; r < l_.recurrent_dropout_masks * s_.B; ++r)
      for (int64_t n = 0; n < s_.H; ++n)
        store(static_cast<Real*>(g_.d_recurrent_dropout_mask) + r * s_.H + n,
              d_recurrent_[r * s_.hidden_padded + n]);
  for (int64_t p = 0; d_peephole_ && p < s_.P; ++p)
    for (int k = 0; k < 3; ++k)
      Io::store(static_cast<Real*>(g_.d_peephole) + k * s_.U + p * L,
                V::load(d_peephole_ + (p * 3 + k) * L), lanes(p));
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
