// The GRU's forward pass: tiles of a step. From product to gates and states, in registers.
#pragma once

#include "kernels/gru_forward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real>
inline void GruForward<V, Real>::gates(int64_t t, int64_t n, const Block* blocks, Range panels,
                                       const uint8_t* parity, int member) {
  const bool takes_long = n * s_.U > kLong;
  for (int64_t p = panels.begin; p < panels.end && !(takes_long && stop_.skip(member)); ++p)
    for (int64_t k = 0; k < n; ++k)
      with_rows<M>(blocks[k].rows, [&](auto m) {
        if (after_)
          tile<decltype(m)::count>(blocks[k], p, t, parity);
        else
          reset_tile<decltype(m)::count>(blocks[k], p, t, parity);
      });
}

template <class V, class Real>
inline void GruForward<V, Real>::candidates(int64_t t, int64_t n, const Block* blocks, Range tiles,
                                            const uint8_t* parity, int member) {
  const bool takes_long = n * s_.U > kLong;
  for (int64_t c = tiles.begin; c < tiles.end && !(takes_long && stop_.skip(member)); ++c)
    for (int64_t k = 0; k < n; ++k)
      with_rows<M>(blocks[k].rows, [&](auto m) {
        candidate_tile<decltype(m)::count>(blocks[k], c, t, parity);
      });
}

// acc += rows of the block times w [K][G][L]; where gates have rows of their own they lie `stride`
// apart.
template <class V, class Real>
template <int R, int G>
inline __attribute__((always_inline)) void GruForward<V, Real>::add(reg (&acc)[R][G],
                                                                    const Block& block, const T* w,
                                                                    int64_t K, int gates,
                                                                    int64_t stride) {
  const T* rows[R];
  for (int m = 0; m < R; ++m) rows[m] = block.in[m];
  if (__builtin_expect(gates == 1, 1)) {
    accumulate<V, R, G>(acc, rows, w, K);
    return;
  }
  for (int64_t k = 0; k < K; ++k, w += G * L)
    for (int g = 0; g < G; ++g) {
      const reg column = V::load(w + g * L);
      for (int m = 0; m < R; ++m)
        acc[m][g] = V::fma(V::broadcast(rows[m] + g * stride + k), column, acc[m][g]);
    }
}

template <class V, class Real>
template <int R>
inline void GruForward<V, Real>::project_tile(const Block& block, int64_t p) {
  reg acc[R][3];
#pragma GCC unroll 8
  for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
    for (int g = 0; g < 3; ++g) acc[m][g] = V::load(bias_ + (p * 3 + g) * L);
  add<R, 3>(acc, block, kernel_ + p * s_.F * 3 * L, s_.F, x_gates_, s_.F);
  for (int m = 0; m < R; ++m)
    for (int g = 0; g < 3; ++g) V::store(block.z[m] + (p * 3 + g) * L, acc[m][g]);
}

// Two of the four parts of the reserve of a step.
template <class V, class Real>
inline void GruForward<V, Real>::keep(int first, reg one, reg two, int64_t b, int64_t t,
                                      int64_t p) {
  const int64_t units = reserved_units(s_.U);
  Real* to =
      static_cast<Real*>(out_.reserve) + ((t * s_.B + b) * 4 + first) * units + p * L;
  Io::store(to, one, L);
  Io::store(to + units, two, L);
}

// What is wanted of a step that counts.
template <class V, class Real>
inline void GruForward<V, Real>::write(int64_t b, int64_t t, int64_t p, reg z, reg r, reg g,
                                       reg h) {
  const int n = lanes(p);
  const int64_t to = at(b, t, p);
  if (Real* hs = real(CONVEYOR_GRU_HIDDEN_STATES)) Io::store(hs + to, h, n);
  if (Real* zs = real(CONVEYOR_GRU_UPDATE_GATES)) Io::store(zs + to, z, n);
  if (Real* rs = real(CONVEYOR_GRU_RESET_GATES)) Io::store(rs + to, r, n);
  if (Real* gs = real(CONVEYOR_GRU_CANDIDATES)) Io::store(gs + to, g, n);
}

template <class V, class Real>
template <int R>
inline void GruForward<V, Real>::tile(const Block& block, int64_t p, int64_t t,
                                      const uint8_t* parity) {
  reg acc[R][3];
#pragma GCC unroll 8
  for (int m = 0; m < R; ++m) {
    acc[m][0] = V::load(block.z[m] + p * 3 * L);
    acc[m][1] = V::load(block.z[m] + (p * 3 + 1) * L);
    acc[m][2] = V::load(state_bias_ + p * L);
  }
  add<R, 3>(acc, block, recurrent_ + p * s_.U * 3 * L, s_.U, h_gates_, row_);
  constexpr int K = R % 2 ? 1 : 2;
#pragma GCC unroll 1
  for (int m = 0; m < R; m += K) {
    reg y[2 * K], g[K], in[K];
    for (int k = 0; k < K; ++k) y[2 * k] = acc[m + k][0], y[2 * k + 1] = acc[m + k][1];
    functions_.template sigmas<2 * K>(y);
    for (int k = 0; k < K; ++k)
      in[k] = g[k] =
          V::fma(y[2 * k + 1], acc[m + k][2], V::load(block.z[m + k] + (p * 3 + 2) * L));
    functions_.template phis<K>(g);
    for (int k = 0; k < K; ++k) {
      const int64_t b = block.b[m + k];
      const reg h = V::load(before(b, parity) + p * L);
      const reg after = V::fma(y[2 * k], V::sub(h, g[k]), g[k]);
      V::store(following(b, parity) + p * L, after);
      write(b, t, p, y[2 * k], y[2 * k + 1], g[k], after);
      if (!out_.reserve) continue;
      if (functions_.keeps_inputs)
        y[2 * k] = acc[m + k][0], y[2 * k + 1] = acc[m + k][1], g[k] = in[k];
      keep(kUpdate, y[2 * k], y[2 * k + 1], b, t, p);
      keep(kCandidate, g[k], acc[m + k][2], b, t, p);
    }
  }
}

// The update gates, and what the candidates read.
template <class V, class Real>
template <int R>
inline void GruForward<V, Real>::reset_tile(const Block& block, int64_t p, int64_t t,
                                            const uint8_t* parity) {
  reg acc[R][2];
#pragma GCC unroll 8
  for (int m = 0; m < R; ++m)
    for (int g = 0; g < 2; ++g) acc[m][g] = V::load(block.z[m] + (p * 3 + g) * L);
  add<R, 2>(acc, block, recurrent_ + p * s_.U * 2 * L, s_.U, h_gates_, row_);
  for (int m = 0; m < R; ++m) {
    const int64_t b = block.b[m];
    reg y[2] = {acc[m][0], acc[m][1]};
    functions_.template sigmas<2>(y);
    if (out_.reserve && functions_.keeps_inputs) keep(kUpdate, acc[m][0], acc[m][1], b, t, p);
    if (out_.reserve && !functions_.keeps_inputs) keep(kUpdate, y[0], y[1], b, t, p);
    const T* h = dropped_ ? block.in[m] + (h_gates_ == 3 ? 2 * row_ : 0) : before(b, parity);
    V::store(update_ + b * s_.padded + p * L, y[0]);
    V::store(reset_ + b * row_ + p * L, V::mul(y[1], V::first(V::load(h + p * L), lanes(p))));
    // In place of x W + b, which has done its part; the second round writes it.
    V::store(block.z[m] + (p * 3 + 1) * L, y[1]);
  }
}

template <class V, class Real>
template <int R>
inline void GruForward<V, Real>::candidate_tile(const Block& block, int64_t n, int64_t t,
                                                const uint8_t* parity) {
  reg acc[R][N];
  const int panels = static_cast<int>(std::min<int64_t>(N, s_.P - n * N));
  const T* rows[R];
  for (int m = 0; m < R; ++m) {
    rows[m] = reset_ + block.b[m] * row_;
    for (int v = 0; v < N; ++v)
      acc[m][v] = v < panels ? V::load(block.z[m] + ((n * N + v) * 3 + 2) * L) : V::zero();
  }
  accumulate<V, R, N>(acc, rows, candidate_ + n * s_.U * N * L, s_.U);
  for (int m = 0; m < R; ++m) {
    const int64_t b = block.b[m];
    reg y[N];
    for (int v = 0; v < N; ++v) y[v] = acc[m][v];
    functions_.template phis<N>(y);
    for (int v = 0; v < panels; ++v) {
      const int64_t p = n * N + v;
      const reg z = V::load(update_ + b * s_.padded + p * L), g = y[v];
      const reg h = V::load(before(b, parity) + p * L);
      const reg after = V::fma(z, V::sub(h, g), g);
      V::store(following(b, parity) + p * L, after);
      write(b, t, p, z, V::load(block.z[m] + (p * 3 + 1) * L), g, after);
      if (out_.reserve)
        keep(kCandidate, functions_.keeps_inputs ? acc[m][v] : g, V::zero(), b, t, p);
    }
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
