// The inner loop of everything: a tile of M rows x N vectors of a product, in registers.
//
// V is the vector of a target: V::T its element, V::L its lanes, V::reg its register. Products
// read V::A, which is T, or two bfloat16 that are neighbours along the summed axis; K counts A.
#pragma once

#include <cstdint>

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, int M, int N>
inline __attribute__((always_inline)) void copy(const typename V::reg (&from)[M][N],
                                                typename V::reg (&to)[M][N]) {
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) to[m][n] = from[m][n];
}

// acc[m][n] += sum over k of rows[m][k] * w[k][n], where w is packed as [K][N][L]: what one
// step of the loop reads lies side by side. `acc` must be local to the caller, and nothing else
// take its address: then it is registers.
template <class V, int M, int N>
inline __attribute__((always_inline)) void add_product(typename V::reg (&acc)[M][N],
                                                       const typename V::A* const (&rows)[M],
                                                       const typename V::A* w, int64_t K) {
  for (int64_t k = 0; k < K; ++k, w += N * V::L) {
    typename V::reg column[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      typename V::reg weights = V::weights(w + n * V::L);
      // g++ would fold the load into each multiply-add: M times the loads. Where there are
      // registers to spare that is worth preventing (188 -> 232 GFLOP/s at 4 rows of AVX-512).
      // Not keep(column[n]): g++ then stores the array at each turn (a quarter slower).
      if (M * N + N < V::kRegisters - 5 && M > 1) V::keep(weights);
      column[n] = weights;
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const typename V::reg a = V::broadcast(rows[m] + k);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) acc[m][n] = V::dot(a, column[n], acc[m][n]);
    }
  }
}

// The same for any `sum`.
template <class V, int M, int N>
inline __attribute__((always_inline)) void accumulate(typename V::reg (&sum)[M][N],
                                                      const typename V::A* const (&rows)[M],
                                                      const typename V::A* w, int64_t K) {
  typename V::reg acc[M][N];
  copy<V, M, N>(sum, acc);
  add_product<V, M, N>(acc, rows, w, K);
  copy<V, M, N>(acc, sum);
}

// The same where each of the four gates has a row of its own, `apart` from each other.
template <class V, int M>
inline void accumulate_by_gate(typename V::reg (&sum)[M][4], const typename V::A* const (&rows)[M],
                               int64_t apart, const typename V::A* w, int64_t K) {
  typename V::reg acc[M][4];
  copy<V, M, 4>(sum, acc);
  for (int64_t k = 0; k < K; ++k, w += 4 * V::L) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
      for (int n = 0; n < 4; ++n)
        acc[m][n] =
            V::dot(V::broadcast(rows[m] + n * apart + k), V::weights(w + n * V::L), acc[m][n]);
    }
  }
  copy<V, M, 4>(acc, sum);
}

template <class V, int M, int N>
inline __attribute__((always_inline)) void clear(typename V::reg (&acc)[M][N]) {
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) acc[m][n] = V::zero();
}

// Calls run(Rows<m>{}) for the m of 1..V::kRows that is given.
template <int M>
struct Rows {
  static constexpr int count = M;
};

template <int Max, class Run>
inline void with_rows(int m, Run&& run) {
  if constexpr (Max > 1) {
    if (m != Max) return with_rows<Max - 1>(m, run);
  }
  run(Rows<Max>{});
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
