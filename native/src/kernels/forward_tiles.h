// The forward pass: tiles of a step, up to the inputs of the gates.
#pragma once

#include "kernels/activation.h"
#include "kernels/forward.h"
#include "kernels/tile.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
inline void Forward<V, Real, State>::compute(int64_t t, int64_t n, const Block* blocks,
                                             Range panels, int member) {
  if (s_.B == 1 && h_gates_ == 1 && n == 1) {
    // Every other step goes the other way: what the last one read last is still in the cache.
    const int64_t pairs = panels.size() / 2, odd = panels.begin + 2 * pairs;
    const bool up = (t + steps_of_stream_) % 2 == 0;
    if (!up && odd < panels.end) tile_of_panels<1>(blocks[0], odd, t, up);
    for (int64_t k = 0; k < pairs; ++k)
      tile_of_panels<2>(blocks[0], panels.begin + 2 * (up ? k : pairs - 1 - k), t, up);
    if (up && odd < panels.end) tile_of_panels<1>(blocks[0], odd, t, up);
    return;
  }
  const bool long_step = n * (s_.F + s_.U) > kLong;
  if (small_ && !out_.reserve) {
    // Weights of all panels stay in the second-level cache, so rows may stay in the first. For
    // training this is slower: the reserve is written panel by panel.
    for (int64_t k = 0; k < n && !(long_step && k % 64 == 0 && stop_.skip(member)); ++k)
      with_rows<M>(blocks[k].rows, [&](auto m) {
        for (int64_t p = panels.begin; p < panels.end; ++p)
          tile<decltype(m)::count>(blocks[k], p, t);
      });
    return;
  }
  for (int64_t p = panels.begin; p < panels.end && !(long_step && stop_.skip(member)); ++p)
    for (int64_t k = 0; k < n; ++k)
      with_rows<M>(blocks[k].rows, [&](auto m) { tile<decltype(m)::count>(blocks[k], p, t); });
}

template <class V, class Real, class State>
template <int R>
inline void Forward<V, Real, State>::project_tile(const Block& block, int64_t p) {
  reg acc[R][4];
  const A* rows[R];
  for (int m = 0; m < R; ++m) rows[m] = block.x[m];
  start<R>(acc, bias_ + p * 4 * L);
  add_masked_product<R>(acc, rows, kernel_ + p * f_ * 4 * L, f_, x_gates_, x_staged_);
  for (int m = 0; m < R; ++m)
    for (int g = 0; g < 4; ++g)
      V::store(const_cast<T*>(block.z[m]) + (p * 4 + g) * L, acc[m][g]);
}

template <class V, class Real, class State>
template <int R>
inline __attribute__((always_inline)) void Forward<V, Real, State>::start(reg (&acc)[R][4],
                                                                          const T* bias) {
#pragma GCC unroll 8
  for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
    for (int g = 0; g < 4; ++g) acc[m][g] = V::load(bias + g * L);
}

template <class V, class Real, class State>
template <int R>
inline __attribute__((always_inline)) void Forward<V, Real, State>::load_rows(
    reg (&acc)[R][4], const T* const (&z)[M], int64_t p) {
#pragma GCC unroll 8
  for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
    for (int g = 0; g < 4; ++g) acc[m][g] = V::load(z[m] + (p * 4 + g) * L);
}

template <class V, class Real, class State>
template <int R>
inline __attribute__((always_inline)) void Forward<V, Real, State>::add_masked_product(
    reg (&acc)[R][4], const A* const (&rows)[R], const A* w, int64_t K, int gates,
    int64_t staged) {
  if (__builtin_expect(gates == 1, 1))
    accumulate<V, R, 4>(acc, rows, w, K);
  else
    accumulate_by_gate<V, R>(acc, rows, staged, w, K);
}

template <class V, class Real, class State>
template <int R>
inline void Forward<V, Real, State>::tile(const Block& block, int64_t p, int64_t t) {
  reg acc[R][4];
  const A* rows[R];
  if (out_.states[CONVEYOR_HIDDEN_STATES])
    for (int m = 0; m < R; ++m)
      V::prefetch_write(real(CONVEYOR_HIDDEN_STATES) + at(block.b[m], t, p));
  for (int m = 0; m < R; ++m) rows[m] = block.h[m];
  const A* const recurrent = recurrent_ + p * u_ * 4 * L;
  if (x_gates_ == 1 && h_gates_ == 1) {
    reg z[R][4];
    if (ahead_) {
      load_rows<R>(z, block.z, p);
    } else {
      const A* x[R];
      for (int m = 0; m < R; ++m) x[m] = block.x[m];
      start<R>(z, bias_ + p * 4 * L);
      add_product<V, R, 4>(z, x, kernel_ + p * f_ * 4 * L, f_);
    }
    add_product<V, R, 4>(z, rows, recurrent, u_);
    copy<V, R, 4>(z, acc);
  } else {
    if (ahead_) {
      load_rows<R>(acc, block.z, p);
    } else {
      const A* x[R];
      for (int m = 0; m < R; ++m) x[m] = block.x[m];
      start<R>(acc, bias_ + p * 4 * L);
      add_masked_product<R>(acc, x, kernel_ + p * f_ * 4 * L, f_, x_gates_, x_staged_);
    }
    add_masked_product<R>(acc, rows, recurrent, u_, h_gates_, h_staged_);
  }
  constexpr int kGroup = R % 3 == 0 ? 3 : 2;
  int m = 0;
#pragma GCC unroll 1
  for (; m + kGroup <= R; m += kGroup) pointwise_of_rows<kGroup>(acc + m, block, m, p, t);
  if (m < R) pointwise_of_rows<R % kGroup ? R % kGroup : 1>(acc + m, block, m, p, t);
}

// One row by one or two panels, for a batch of one. The product is summed in two halves:
// whichever comes first, their sum is the same. First comes the one whose hidden states were
// not the last to be computed.
template <class V, class Real, class State>
template <int K>
inline void Forward<V, Real, State>::tile_of_panels(const Block& block, int64_t first, int64_t t,
                                                    bool up) {
  reg acc[K][4];
  int64_t b[K], panels[K];
  const A* h_before[K];
  A* h_after[K];
  for (int n = 0; n < K; ++n) {
    const int k = up ? n : K - 1 - n;
    const int64_t p = first + k;
    reg z[1][4];
    start<1>(z, ahead_ ? block.z[0] + p * 4 * L : bias_ + p * 4 * L);
    if (!ahead_) {
      const A* x[1] = {block.x[0]};
      add_masked_product<1>(z, x, kernel_ + p * f_ * 4 * L, f_, x_gates_, x_staged_);
    }
    if (up)
      add_halves<true>(z[0], block.h[0], recurrent_ + p * u_ * 4 * L);
    else
      add_halves<false>(z[0], block.h[0], recurrent_ + p * u_ * 4 * L);
    for (int g = 0; g < 4; ++g) acc[k][g] = z[0][g];
    b[k] = block.b[0], panels[k] = p;
    h_before[k] = block.h_before[0], h_after[k] = block.h_after[0];
  }
  pointwise<K>(acc, b, panels, h_before, h_after, t);
}

template <class V, class Real, class State>
template <bool kLaterFirst>
inline __attribute__((always_inline)) void Forward<V, Real, State>::add_halves(
    reg (&sum)[4], const A* row, const A* w) {
  const int64_t half = u_ / 2;
  reg early[1][4], late[1][4];
  clear<V, 1, 4>(early);
  clear<V, 1, 4>(late);
  const A* early_row[1] = {row};
  const A* late_row[1] = {row + half};
  if (kLaterFirst) accumulate<V, 1, 4>(late, late_row, w + half * 4 * L, u_ - half);
  accumulate<V, 1, 4>(early, early_row, w, half);
  if (!kLaterFirst) accumulate<V, 1, 4>(late, late_row, w + half * 4 * L, u_ - half);
  for (int g = 0; g < 4; ++g) sum[g] = V::add(sum[g], V::add(early[0][g], late[0][g]));
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
