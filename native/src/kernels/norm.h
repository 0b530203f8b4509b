// Layer normalisation of a row, and back: LN(a) = (a - mean(a)) / sqrt(var(a) + 1e-5).
//
// A row has its units in panels, [P][K][L]: of K series of numbers, lane by lane.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, int K>
class Norm {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  static constexpr int L = V::L;

  // Each series by itself, or those from `first` on all `together`; LN() is 0 before `first`.
  Norm(int64_t units, bool together = false, int first = 0)
      : P_((units + L - 1) / L), last_(static_cast<int>(units - (P_ - 1) * L)),
        together_(together), first_(first),
        count_(static_cast<T>(together ? units * (K - first) : units)) {}

  // Of what the rows of one normalisation share: LN(a) = (a - mean) * inverse.
  struct Row {
    T mean[K], inverse[K];
  };

  Row of(const T* row) const {
    Row r;
    reg sums[K], mean[K];
    zero(sums);
    each_panel([&](int64_t p, auto last) {
      for (int k = 0; k < K; ++k)
        sums[k] = V::add(sums[k], of_units(V::load(row + at(p, k)), last));
    });
    means(sums, r.mean);
    for (int k = 0; k < K; ++k) mean[k] = V::set1(r.mean[k]);
    zero(sums);
    each_panel([&](int64_t p, auto last) {
      for (int k = 0; k < K; ++k) {
        const reg centred = of_units(V::sub(V::load(row + at(p, k)), mean[k]), last);
        sums[k] = V::fma(centred, centred, sums[k]);
      }
    });
    means(sums, r.inverse);
    for (int k = 0; k < K; ++k)
      r.inverse[k] = k < first_ ? T(0) : 1 / std::sqrt(r.inverse[k] + T(1e-5));
    return r;
  }

  static reg normal(const T* row, const Row& r, int64_t p, int k) {
    return V::mul(V::sub(V::load(row + at(p, k)), V::set1(r.mean[k])), V::set1(r.inverse[k]));
  }

  // The gradient of what was normalised, from dy of y = LN(row) * scale + ...: put(p, k, gradient).
  // Before, see(p, k, dy, LN(row)) of each.
  template <class See, class Put>
  void backward(const T* row, const Row r, const T* scale, const T* dy, See see, Put put) const {
    reg sums[K], products[K];
    T mean[K], slope[K];
    zero(sums);
    zero(products);
    each_panel([&](int64_t p, auto last) {
      for (int k = 0; k < K; ++k) {
        const reg its = V::load(dy + at(p, k)), normed = normal(row, r, p, k);
        see(p, k, its, normed);
        const reg d = of_units(V::mul(its, V::load(scale + at(p, k))), last);
        sums[k] = V::add(sums[k], d);
        products[k] = V::fma(d, of_units(normed, last), products[k]);
      }
    });
    means(sums, mean);
    means(products, slope);
    each_panel([&](int64_t p, auto last) {
      for (int k = 0; k < K; ++k) {
        const reg d = V::mul(V::load(dy + at(p, k)), V::load(scale + at(p, k)));
        const reg tilted = V::fma(normal(row, r, p, k), V::set1(-slope[k]),
                                  V::sub(d, V::set1(mean[k])));
        put(p, k, of_units(V::mul(tilted, V::set1(r.inverse[k])), last));
      }
    });
  }

 private:
  static int64_t at(int64_t p, int k) { return (p * K + k) * L; }
  static void zero(reg (&sums)[K]) {
    for (reg& one : sums) one = V::zero();
  }
  // Runs run(p, whether it is the last).
  template <class Run>
  void each_panel(Run run) const {
    for (int64_t p = 0; p + 1 < P_; ++p) run(p, std::false_type{});
    run(P_ - 1, std::true_type{});
  }
  // Zeros past the last unit.
  template <class Last>
  reg of_units(reg value, Last) const {
    return Last::value ? V::first(value, last_) : value;
  }
  void means(const reg (&sums)[K], T (&mean)[K]) const {
    if (together_) {
      reg all = V::zero();
      for (int k = first_; k < K; ++k) all = V::add(all, sums[k]);
      const T one = sum(all) / count_;
      for (int k = 0; k < K; ++k) mean[k] = one;
    } else {
      for (int k = 0; k < K; ++k) mean[k] = sum(sums[k]) / count_;
    }
  }
  // Of all lanes, halves first: a loop over the halvings would go one number at a time.
  static T sum(reg a) {
    alignas(64) T lanes[L];
    V::store(lanes, a);
    return fold<L / 2>(lanes);
  }
  template <int N>
  static T fold(T* lanes) {
    if constexpr (N == 0) {
      return lanes[0];
    } else {
      for (int n = 0; n < N; ++n) lanes[n] += lanes[n + N];
      return fold<N / 2>(lanes);
    }
  }

  const int64_t P_;
  const int last_;
  const bool together_;
  const int first_;
  const T count_;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
