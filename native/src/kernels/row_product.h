// Rows of the batch times a matrix that is packed once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/shape.h"
#include "kernels/tile.h"
#include "workspace.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// Columns come in groups of N vectors, packed as [groups][K][N][L].
template <class V>
class RowProduct {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  static constexpr int L = V::L, M = V::kRows, N = V::kColumns;
  static_assert(V::kPair == 1, "rows are read as they are");

  void plan(Workspace& memory, int64_t K, int64_t columns) {
    K_ = K, columns_ = columns;
    weights_ = memory.take<T>(groups() * K * N * L);
  }
  int64_t groups() const { return (columns_ + N * L - 1) / (N * L); }
  int64_t multiply_adds() const { return K_ * groups() * N * L; }

  // Of weights [K, columns].
  template <class Real>
  void pack(const Real* weights, Range groups) {
    using Io = typename V::template Io<Real>;
    for (int64_t n = groups.begin; n < groups.end; ++n)
      for (int64_t k = 0; k < K_; ++k)
        for (int v = 0; v < N; ++v) {
          const int64_t column = (n * N + v) * L;
          V::store(weights_ + ((n * K_ + k) * N + v) * L,
                   column < columns_ ? Io::load(weights + k * columns_ + column, lanes(column))
                                     : V::zero());
        }
  }

  // Of the transpose of weights [columns, K].
  template <class Real>
  void pack_transposed(const Real* weights, Range groups) {
    constexpr int64_t kTogether = 16;
    for (int64_t n = groups.begin; n < groups.end; ++n)
      for (int64_t first = 0; first < K_; first += kTogether)
        for (int64_t j = 0; j < N * L; ++j) {
          const int64_t column = n * N * L + j;
          for (int64_t k = first; k < std::min(K_, first + kTogether); ++k)
            weights_[(n * K_ + k) * N * L + j] =
                column < columns_ ? static_cast<T>(load_one(weights + column * K_ + k)) : T(0);
        }
  }

  // `row(n)`, `from(row)` and `to(row)` say where the n-th of `count` rows is and goes; `bias`
  // [columns], padded, may be null. Whole vectors are written.
  template <class Row, class From, class To, class Skip>
  void run(int64_t count, Range groups, const T* bias, Row row, From from, To to, Skip skip) const {
    const int64_t blocks = (count + M - 1) / M;
    for (int64_t n = groups.begin; n < groups.end && !skip(); ++n) {
      const int vectors =
          static_cast<int>(std::min<int64_t>(N, (columns_ - n * N * L + L - 1) / L));
      for (int64_t k = 0; k < blocks; ++k) {
        const Range part = share(count, blocks, k);
        const T* rows[M];
        T* results[M];
        for (int64_t m = 0; m < part.size(); ++m) {
          const int64_t b = row(part.begin + m);
          rows[m] = from(b), results[m] = to(b) + n * N * L;
        }
        with_rows<M>(static_cast<int>(part.size()), [&](auto m) {
          tile<decltype(m)::count>(rows, weights_ + n * K_ * N * L, results,
                                   bias ? bias + n * N * L : nullptr, vectors);
        });
      }
    }
  }

 private:
  int lanes(int64_t column) const {
    return static_cast<int>(std::min<int64_t>(L, columns_ - column));
  }

  template <int R>
  void tile(const T* const (&from)[M], const T* w, T* const (&to)[M], const T* bias,
            int vectors) const {
    reg acc[R][N];
    const T* rows[R];
    for (int m = 0; m < R; ++m) rows[m] = from[m];
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v)
        acc[m][v] = bias && v < vectors ? V::load(bias + v * L) : V::zero();
    accumulate<V, R, N>(acc, rows, w, K_);
    for (int m = 0; m < R; ++m)
      for (int v = 0; v < vectors; ++v) V::store(to[m] + v * L, acc[m][v]);
  }

  int64_t K_ = 0, columns_ = 0;
  T* weights_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
