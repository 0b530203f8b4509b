// A linear layer over rows, a chunk of rows and a block of classes at a time.
//
// Logits lie as [class][row of the chunk]. Their tiles are a few classes, whose weights are read
// where the caller has them, by a few vectors of rows: what follows, over classes, is the same for
// each lane. What a row sums over all classes it sums block by block, whoever computed them, so
// results do not depend on the number of threads.
#pragma once

#include <cstring>
#include <type_traits>

#include "conveyor/linear.h"
#include "kernels/activation.h"
#include "kernels/operand.h"
#include "kernels/shape.h"
#include "kernels/tile.h"
#include "workspace.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real>
class Linear {
 protected:
  using T = typename V::T;
  using reg = typename V::reg;
  using A = typename V::A;
  using Read = Operand<V>;
  using Io = typename V::template Io<Real>;
  static constexpr int L = V::L;
  static constexpr int M = V::kRows;
  static constexpr int N = V::kColumns;
  static constexpr int kPair = V::kPair;
  static constexpr int kWide = N * L;  // rows of a tile
  static_assert(std::is_same<T, float>::value && sizeof(A) == sizeof(T), "logits become A");

  explicit Linear(const conveyor_linear& l)
      : l_(l), A_(l.features), V_(l.classes), depth_(Read::count(l.features)),
        stop_(l.interrupted) {}

  // `rows` that count, of which `at_once` or more may be a chunk.
  void plan(int64_t rows, int64_t at_once) {
    const int64_t chunk = std::max<int64_t>(1, std::min(rows, at_once));
    chunk_ = (chunk + kWide - 1) / kWide * kWide;
    // Rows of tiles must not share the sets of the first-level cache.
    stride_ = chunk_ + 16;
    // At most 64 blocks of few classes, then larger ones: there is work for many threads.
    block_ = std::min<int64_t>(kLargestBlock, ((V_ + 63) / 64 + 11) / 12 * 12);
    blocks_ = (V_ + block_ - 1) / block_;
    most_ = l_.threads ? l_.threads : conveyor_threads();
    row_ = depth_ + L;
    across_ = memory_.take<A>(chunk_ * depth_);
    highest_ = memory_.take<T>(blocks_ * chunk_);
    totals_ = memory_.take<T>(blocks_ * chunk_);
    log_totals_ = memory_.take<T>(chunk_);
    if (!kDirect || A_ % kPair) weights_ = memory_.take<A>(most_ * block_ * row_);
  }

  static constexpr int64_t kLargestBlock = 96;
  static constexpr bool kDirect = std::is_same<Real, typename Read::Element>::value;

  // Calls run(Rows<w>{}) for the narrowest tile that holds `vectors`.
  template <class Run>
  static void with_width(int64_t vectors, Run&& run) {
    if (vectors <= N / 4)
      run(Rows<(N >= 4 ? N / 4 : 1)>{});
    else if (vectors <= N / 2)
      run(Rows<(N >= 2 ? N / 2 : 1)>{});
    else
      run(Rows<N>{});
  }

  // Packs rows of the chunk for logits(): [tile][depth][vector][L]. `index` says which they are.
  void pack_across(const int32_t* index, int64_t rows, Range tiles) {
    for (int64_t t = tiles.begin; t < tiles.end; ++t) {
      const int64_t vectors = (std::min<int64_t>(kWide, rows - t * kWide) + L - 1) / L;
      with_width(vectors, [&](auto w) {
        constexpr int W = decltype(w)::count;
        A* to = across_ + t * kWide * depth_;
        for (int v = 0; v < W; ++v) {
          const int64_t first = t * kWide + v * L;
          pack_vector<W>(index + first, std::min<int64_t>(L, rows - first), to + v * L);
        }
      });
    }
  }

  template <int W>
  void pack_vector(const int32_t* index, int64_t rows, A* to) const {
    const Real* x = static_cast<const Real*>(l_.x);
    if constexpr (V::kTransposes) {
      for (int64_t a = 0; a < A_; a += L) {
        const int lanes = static_cast<int>(std::min<int64_t>(L, A_ - a));
        reg tile[L];
        for (int64_t n = 0; n < L; ++n)
          tile[n] = n < rows ? Io::load(x + index[n] * A_ + a, lanes) : V::zero();
        V::transpose(tile);
        for (int j = 0; j < lanes; j += kPair) {
          A* column = to + (a + j) / kPair * W * L;
          if constexpr (kPair == 1)
            V::store(column, tile[j]);
          else
            V::store_pairs(column, tile[j], tile[j + 1]);  // zeros past A_
        }
      }
    } else {
      static_assert(kPair == 1, "pairs are transposed");
      for (int64_t a = 0; a < A_; ++a)
        for (int64_t n = 0; n < L; ++n)
          to[a * W * L + n] = n < rows ? to_float(load_one(x + index[n] * A_ + a)) : T(0);
    }
  }

  // Weights of `count` classes from `v` on as products read them, and how far apart they lie.
  const A* class_weights(int64_t v, int64_t count, int member, int64_t* apart) const {
    const Real* kernel = static_cast<const Real*>(l_.kernel) + v * A_;
    if (!weights_) {
      *apart = depth_;
      return reinterpret_cast<const A*>(kernel);
    }
    A* const to = weights_ + member * block_ * row_;
    *apart = row_;
    for (int64_t n = 0; n < count; ++n)
      for (int64_t a = 0; a < A_; a += L)
        Read::store(to + n * row_, a,
                    Io::load(kernel + n * A_ + a, static_cast<int>(std::min<int64_t>(L, A_ - a))));
    return to;
  }

  // Logits of a block for all rows of the chunk: z is [class of the block][stride_].
  void logits(int64_t block, int64_t rows, int member, T* z) const {
    const int64_t begin = block * block_, count = std::min(block_, V_ - begin);
    int64_t apart = 0;
    const A* weights = class_weights(begin, count, member, &apart);
    for (int64_t v = 0; v < count; v += M) {
      with_rows<M>(static_cast<int>(std::min<int64_t>(M, count - v)), [&](auto m) {
        constexpr int R = decltype(m)::count;
        const A* classes[R];
        for (int r = 0; r < R; ++r) classes[r] = weights + (v + r) * apart;
        for (int64_t first = 0; first < rows; first += kWide) {
          with_width((rows - first + L - 1) / L, [&](auto w) {
            logits_tile<R, decltype(w)::count>(classes, first, begin + v, z + v * stride_ + first);
          });
        }
      });
    }
  }

  template <int R, int W>
  void logits_tile(const A* const (&classes)[R], int64_t first, int64_t v, T* z) const {
    reg acc[R][W];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const reg bias = l_.bias ? V::set1(load_one(l_.bias + v + r)) : V::zero();
#pragma GCC unroll 8
      for (int w = 0; w < W; ++w) acc[r][w] = bias;
    }
    accumulate<V, R, W>(acc, classes, across_ + first * depth_, depth_);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int w = 0; w < W; ++w) V::store(z + r * stride_ + w * L, acc[r][w]);
  }

  // Of the logits of a block: the highest of each row, and the sum of exp(z - highest).
  void sum_up(int64_t block, int64_t rows, const T* z) {
    const int64_t count = std::min(block_, V_ - block * block_);
    for (int64_t first = 0; first < rows; first += L) {
      const T* column = z + first;
      reg highest = V::load(column);
      for (int64_t v = 1; v < count; ++v)
        highest = V::max(highest, V::load(column + v * stride_));
      reg total = V::zero();
      constexpr int K = 4;
      int64_t v = 0;
      for (; v + K <= count; v += K) total = V::add(total, sum_of<K>(column, v, highest));
      for (; v < count; ++v) total = V::add(total, sum_of<1>(column, v, highest));
      V::store(highest_ + block * chunk_ + first, highest);
      V::store(totals_ + block * chunk_ + first, total);
    }
  }

  template <int K>
  reg sum_of(const T* column, int64_t v, reg highest) const {
    reg e[K];
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) e[k] = V::sub(V::load(column + (v + k) * stride_), highest);
    Activation<V>::template exps<K>(e, 1, 0, e);
    if constexpr (K == 4)
      return V::add(V::add(e[0], e[1]), V::add(e[2], e[3]));
    else
      return e[0];
  }

  // log_totals_ of some vectors of rows, from the sums of all blocks.
  void join(Range vectors) {
    for (int64_t n = vectors.begin; n < vectors.end; ++n) {
      const T *highest = highest_ + n * L, *total = totals_ + n * L;
      reg top[1] = {V::load(highest)};
      for (int64_t b = 1; b < blocks_; ++b) top[0] = V::max(top[0], V::load(highest + b * chunk_));
      reg sum = V::zero();
      for (int64_t b = 0; b < blocks_; ++b) {
        reg e[1] = {V::sub(V::load(highest + b * chunk_), top[0])};
        Activation<V>::template exps<1>(e, 1, 0, e);
        sum = V::fma(V::load(total + b * chunk_), e[0], sum);
      }
      const reg log = V::map(sum, [](T s) { return std::log(s); });
      V::store(log_totals_ + n * L, V::add(top[0], log));
    }
  }

  const conveyor_linear& l_;
  const int64_t A_, V_, depth_;  // features, classes; features in A
  Workspace memory_;
  Stop stop_;
  int most_ = 1;
  int64_t chunk_ = 0, stride_ = 0, block_ = 0, blocks_ = 0, row_ = 0;
  A *across_ = nullptr, *weights_ = nullptr;
  T *highest_ = nullptr, *totals_ = nullptr, *log_totals_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
