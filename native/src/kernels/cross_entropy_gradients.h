// The gradients of a chunk of cross entropies: of its logits, in their place, then the products.
#pragma once

#include "kernels/cross_entropy.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// d of a block, and what follows from it for the classes.
template <class V, class Real>
inline void CrossEntropy<V, Real>::gradients_of(const Chunk& chunk, int64_t block, int member) {
  const int64_t begin = block * block_, count = block_size(block);
  T* z = block_logits(block, member);
  A* paired = kPair == 1 ? nullptr : paired_ + member * block_ * stride_ / kPair;
  for (int64_t v = 0; v < count; v += kPair)
    differentiate(chunk, begin + v, count - v, z + v * stride_,
                  kPair == 1 ? nullptr : paired + v * (stride_ / kPair));
  for (int64_t r = 0; r < chunk.rows; ++r) {
    const int64_t v = c_.labels[chunk.index[r]] - begin;
    if (v >= 0 && v < count) at_label(r, begin, v, z, paired);
  }
  if (c_.d_bias && chunk.last) write_bias(begin, count);
  if (!c_.d_kernel) return;
  const A* d = kPair == 1 ? reinterpret_cast<const A*>(z) : paired;
  for (int64_t n = 0; n < wide_; ++n) {
    Base::with_width((A_ - n * kWide + L - 1) / L, [&](auto w) {
      for (int64_t v = 0; v < count; v += M) {
        with_rows<M>(static_cast<int>(std::min<int64_t>(M, count - v)), [&](auto m) {
          kernel_tile<decltype(m)::count, decltype(w)::count>(
              chunk, begin + v, d + v * (stride_ / kPair), n);
        });
      }
    });
  }
}

// Of kPair classes, of which there are `left`: exp(z - l) - e / V in place of z.
template <class V, class Real>
inline void CrossEntropy<V, Real>::differentiate(const Chunk& chunk, int64_t v, int64_t left,
                                                 T* z, A* paired) {
  const reg even = V::set1(-c_.label_smoothing / static_cast<float>(V_));
  reg sums[kPair];
  for (int k = 0; k < kPair; ++k) sums[k] = V::zero();
  for (int64_t first = 0; first < chunk.rows; first += L) {
    const reg total = V::load(log_totals_ + first);
    const int lanes = static_cast<int>(std::min<int64_t>(L, chunk.rows - first));
    reg d[kPair];
    for (int k = 0; k < kPair; ++k)
      d[k] = V::sub(V::load(z + (k < left ? k : 0) * stride_ + first), total);
    Activation<V>::template exps<kPair>(d, 1, 0, d);
    for (int k = 0; k < kPair; ++k) {
      d[k] = V::add(d[k], even);
      if (lanes < L) d[k] = V::first(d[k], lanes);
      if (k >= left) d[k] = V::zero();
      sums[k] = V::add(sums[k], d[k]);
    }
    if constexpr (kPair == 1) {
      V::store(z + first, d[0]);
    } else {
      V::store_pairs(reinterpret_cast<A*>(z) + first, d[0], d[1]);
      for (int k = 0; k < kPair; ++k)
        Read::store(paired + k * (stride_ / kPair), first, d[k]);
    }
  }
  if (!bias_sums_) return;
  for (int64_t k = 0; k < std::min<int64_t>(kPair, left); ++k) {
    T* sum = bias_sums_ + (v + k) * L;
    V::store(sum, chunk.first ? sums[k] : V::add(V::load(sum), sums[k]));
  }
}

// Less 1 - e, before it is rounded to what products read.
template <class V, class Real>
inline void CrossEntropy<V, Real>::at_label(int64_t r, int64_t begin, int64_t v, T* z, A* paired) {
  const double eps = c_.label_smoothing;
  const double p = std::exp(static_cast<double>(labels_[r]) - log_totals_[r]);
  const T d = static_cast<T>(p - eps / V_ - (1 - eps));
  Read::set(reinterpret_cast<A*>(z + v / kPair * kPair * stride_),
            kPair == 1 ? r : 2 * r + v % kPair, d);
  if (kPair > 1) Read::set(paired + v * (stride_ / kPair), r, d);
  if (bias_sums_) bias_sums_[(begin + v) * L + r % L] -= static_cast<T>(1 - eps);
}

// Gradients of the weights of R classes from v on: d^T x, added to those of earlier chunks.
template <class V, class Real>
template <int R, int W>
inline void CrossEntropy<V, Real>::kernel_tile(const Chunk& chunk, int64_t v, const A* d,
                                               int64_t n) {
  const A* rows[R];
  for (int r = 0; r < R; ++r) rows[r] = d + r * (stride_ / kPair);
  reg acc[R][W];
  const int64_t left = A_ - n * kWide;
  T* const sums = kernel_sums_ + v * A_ + n * kWide;
  for (int r = 0; r < R; ++r)
    for (int w = 0; w < W; ++w)
      acc[r][w] = chunk.first ? V::zero() : PlainIo::load(sums + r * A_ + w * L, lanes(left, w));
  accumulate<V, R, W>(acc, rows, along_ + n * kWide * chunk_ / kPair,
                      (chunk.rows + kPair - 1) / kPair);
  Real* const to = static_cast<Real*>(c_.d_kernel) + v * A_ + n * kWide;
  for (int r = 0; r < R; ++r) {
    for (int w = 0; w < W; ++w) {
      if (w * L >= left) continue;
      if (kPlain || !chunk.last)
        PlainIo::store(sums + r * A_ + w * L, acc[r][w], lanes(left, w));
      else
        Io::store(to + r * A_ + w * L, acc[r][w], lanes(left, w));
    }
  }
}

template <class V, class Real>
inline void CrossEntropy<V, Real>::write_bias(int64_t begin, int64_t count) const {
  for (int64_t v = begin; v < begin + count; ++v) {
    double sum = 0;
    for (int lane = 0; lane < L; ++lane) sum += bias_sums_[v * L + lane];
    store(c_.d_bias + v, sum);
  }
}

// d K, in tiles of a few rows by the features of a panel; members own tiles.
template <class V, class Real>
inline void CrossEntropy<V, Real>::input_gradient(const Chunk& chunk, const Team& team,
                                                  int member) {
  const int64_t tiles = (chunk.rows + M - 1) / M;
  const Range part = share(wide_ * tiles, team.size(), member);
  A* const panel = panels_ + member * kPanel / kPair * kWide;
  for (int64_t v = 0; v < V_ && !stop_.skip(member); v += kPanel) {
    const int64_t count = std::min(kPanel, V_ - v);
    for (int64_t n = part.begin / tiles; n * tiles < part.end; ++n) {
      const int64_t begin = std::max(part.begin - n * tiles, int64_t{0});
      const int64_t end = std::min(part.end - n * tiles, tiles);
      Base::with_width((A_ - n * kWide + L - 1) / L, [&](auto w) {
        constexpr int W = decltype(w)::count;
        pack_panel<W>(v, count, n, panel);
        for (int64_t t = begin; t < end; ++t)
          input_tile<W>(chunk, t * M, v, (count + kPair - 1) / kPair, n, panel);
      });
    }
  }
}

template <class V, class Real>
template <int W>
inline void CrossEntropy<V, Real>::pack_panel(int64_t v, int64_t count, int64_t n, A* to) const {
  const Real* from = static_cast<const Real*>(l_.kernel) + v * A_ + n * kWide;
  for (int64_t k = 0; k < count; k += kPair, from += kPair * A_)
    for (int w = 0; w < W; ++w, to += L)
      put_pair(to, lanes(A_ - n * kWide, w), from + w * L,
               k + 1 < count ? from + A_ + w * L : nullptr);
}

template <class V, class Real>
template <int W>
inline void CrossEntropy<V, Real>::input_tile(const Chunk& chunk, int64_t row, int64_t v,
                                              int64_t K, int64_t n, const A* panel) {
  T* const sums = x_sums_ + (n * (chunk_ + M) + row) * kWide;
  reg sum[M][W];
  for (int m = 0; m < M; ++m)
    for (int w = 0; w < W; ++w)
      sum[m][w] = v ? V::load(sums + m * kWide + w * L) : V::zero();
  product<W>(sum, reinterpret_cast<const A*>(logits_ + v * stride_) + row, panel, K);
  if (v + kPanel < V_) {
    for (int m = 0; m < M; ++m)
      for (int w = 0; w < W; ++w) V::store(sums + m * kWide + w * L, sum[m][w]);
    return;
  }
  for (int m = 0; m < M && row + m < chunk.rows; ++m) {
    Real* to = static_cast<Real*>(c_.d_x) + chunk.index[row + m] * A_ + n * kWide;
    for (int w = 0; w < W; ++w)
      if (const int some = lanes(A_ - n * kWide, w)) Io::store(to + w * L, sum[m][w], some);
  }
}

// M rows that are neighbours in d, which is [K][stride_].
template <class V, class Real>
template <int W>
inline void CrossEntropy<V, Real>::product(reg (&sum)[M][W], const A* d, const A* panel,
                                           int64_t K) const {
  reg acc[M][W];
  copy<V, M, W>(sum, acc);
  for (int64_t k = 0; k < K; ++k, d += kPair * stride_, panel += W * L) {
    reg column[W];
#pragma GCC unroll 8
    for (int w = 0; w < W; ++w) column[w] = V::weights(panel + w * L);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const reg value = V::broadcast(d + m);
#pragma GCC unroll 8
      for (int w = 0; w < W; ++w) acc[m][w] = V::dot(value, column[w], acc[m][w]);
    }
  }
  copy<V, M, W>(acc, sum);
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
