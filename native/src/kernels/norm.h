// Layer normalisation of a row, and back: LN(a) = (a - mean(a)) / sqrt(var(a) + 1e-5).
//
// A row has its units in panels, [P][K][L]: of K series of numbers, lane by lane.
#pragma once

#include <cmath>
#include <cstdint>

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, int K>
class Norm {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  static constexpr int L = V::L;

  // Each series by itself, or those from `first` on all `together`; what is before `first` is 0.
  Norm(int64_t units, bool together = false, int first = 0)
      : P_((units + L - 1) / L), last_(static_cast<int>(units - (P_ - 1) * L)),
        together_(together), first_(first), count_(static_cast<T>(together ? units * (K - first) : units)) {}

  // row = LN(row), and zeros past the last unit.
  void forward(T* row, T (&inverse)[K]) const {
    reg sums[K];
    T mean[K], variance[K];
    zero(sums);
    for (int64_t p = 0; p < P_; ++p)
      for (int k = 0; k < K; ++k) sums[k] = V::add(sums[k], of_units(V::load(row + at(p, k)), p));
    means(sums, mean);
    zero(sums);
    for (int64_t p = 0; p < P_; ++p)
      for (int k = 0; k < K; ++k) {
        T* const one = row + at(p, k);
        const reg centred = of_units(V::sub(V::load(one), V::set1(mean[k])), p);
        V::store(one, centred);
        sums[k] = V::fma(centred, centred, sums[k]);
      }
    means(sums, variance);
    for (int k = 0; k < K; ++k)
      inverse[k] = k < first_ ? T(0) : 1 / std::sqrt(variance[k] + T(1e-5));
    for (int64_t p = 0; p < P_; ++p)
      for (int k = 0; k < K; ++k) {
        T* const one = row + at(p, k);
        V::store(one, k < first_ ? V::zero() : V::mul(V::load(one), V::set1(inverse[k])));
      }
  }

  // The gradient of what was normalised, from dy of y = LN() * scale + ..; row is LN().
  void backward(const T* row, const T* scale, const T (&inverse)[K], const T* dy, T* to) const {
    reg sums[K], products[K];
    T mean[K], slope[K];
    zero(sums);
    zero(products);
    for (int64_t p = 0; p < P_; ++p)
      for (int k = 0; k < K; ++k) {
        const reg d = of_units(V::mul(V::load(dy + at(p, k)), V::load(scale + at(p, k))), p);
        sums[k] = V::add(sums[k], d);
        products[k] = V::fma(d, V::load(row + at(p, k)), products[k]);
      }
    means(sums, mean);
    means(products, slope);
    for (int64_t p = 0; p < P_; ++p)
      for (int k = 0; k < K; ++k) {
        if (k < first_) {
          V::store(to + at(p, k), V::zero());
          continue;
        }
        const reg d = V::mul(V::load(dy + at(p, k)), V::load(scale + at(p, k)));
        const reg tilted = V::fma(V::load(row + at(p, k)), V::set1(-slope[k]),
                                  V::sub(d, V::set1(mean[k])));
        V::store(to + at(p, k), of_units(V::mul(tilted, V::set1(inverse[k])), p));
      }
  }

 private:
  static int64_t at(int64_t p, int k) { return (p * K + k) * L; }
  static void zero(reg (&sums)[K]) {
    for (reg& one : sums) one = V::zero();
  }
  // Zeros past the last unit.
  reg of_units(reg value, int64_t p) const {
    return p + 1 < P_ || last_ == L ? value : V::first(value, last_);
  }
  void means(const reg (&sums)[K], T (&mean)[K]) const {
    T lanes[K][L];
    for (int k = 0; k < K; ++k) V::store(lanes[k], sums[k]);
    for (int n = L / 2; n > 0; n /= 2)
      for (int k = 0; k < K; ++k)
        for (int lane = 0; lane < n; ++lane) lanes[k][lane] += lanes[k][lane + n];
    T all = 0;
    for (int k = first_; together_ && k < K; ++k) all += lanes[k][0];
    for (int k = 0; k < K; ++k) mean[k] = (together_ ? all : lanes[k][0]) / count_;
  }

  const int64_t P_;
  const int last_;
  const bool together_;
  const int first_;
  const T count_;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
