// The activations, on vectors.
#pragma once

#include <cmath>
#include <type_traits>

#include "conveyor/lstm.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V>
struct Activation {
  using reg = typename V::reg;
  static constexpr bool is_float = std::is_same<typename V::T, float>::value;

  // exp(z) - 1 in `minus_one`, and returned: exp(z). For z in [-87, 87]; NaN stays NaN.
  // 2^y = 2^n (1 + q(r)), y = n + r, |r| <= 1/2, with q of degree 6 (minimax, 2e-9 of 2^r).
  // Taking the 1 away before the rounding keeps tanh exact near zero.
  static inline reg exp(reg z, reg& minus_one) {
    const reg log2e = V::set1(1.44269504088896341f);
    const reg n = V::round(V::mul(z, log2e));
    const reg r = V::fma(z, log2e, V::neg(n));
    reg q = V::set1(0.0001535342598799616f);
    q = V::fma(q, r, V::set1(0.0013398876180872321f));
    q = V::fma(q, r, V::set1(0.00961843691766262f));
    q = V::fma(q, r, V::set1(0.055503323674201965f));
    q = V::fma(q, r, V::set1(0.24022647738456726f));
    q = V::fma(q, r, V::set1(0.6931471824645996f));
    q = V::mul(q, r);
    const reg scale = V::exp2(n);
    const reg value = V::fma(scale, q, scale);
    minus_one = V::fma(scale, q, V::sub(scale, V::set1(1)));
    return value;
  }

  static inline reg clamp(reg z, float low, float high) {
    return V::max(V::set1(low), V::min(V::set1(high), z));  // both return z where it is NaN
  }

  static inline reg sigmoid(reg z) {
    if constexpr (is_float) {
      reg unused;
      const reg e = exp(V::neg(clamp(z, -87, 87)), unused);
      return V::inverse(V::add(V::set1(1), e));
    } else {
      return V::map(z, [](double v) { return 1 / (1 + std::exp(-v)); });
    }
  }

  static inline reg tanh(reg z) {
    if constexpr (is_float) {
      // (1 - e) / (1 + e), e = exp(-2z)
      reg minus_one;
      exp(V::mul(clamp(z, -20, 20), V::set1(-2)), minus_one);
      return V::mul(V::neg(minus_one), V::inverse(V::add(minus_one, V::set1(2))));
    } else {
      return V::map(z, [](double v) { return std::tanh(v); });
    }
  }

  static inline reg apply(int kind, reg z) {
    switch (kind) {
      case CONVEYOR_TANH: return tanh(z);
      case CONVEYOR_SIGMOID: return sigmoid(z);
      case CONVEYOR_HARD_SIGMOID:
        return V::div(clamp(V::add(z, V::set1(3)), 0, 6), V::set1(6));
      case CONVEYOR_RELU: return V::max(V::zero(), z);
      default: return z;
    }
  }

  // d apply / dz, from y = apply(z).
  static inline reg slope(int kind, reg y) {
    const reg one = V::set1(1);
    switch (kind) {
      case CONVEYOR_TANH: return V::fma(V::neg(y), y, one);
      case CONVEYOR_SIGMOID: return V::fma(V::neg(y), y, y);
      case CONVEYOR_HARD_SIGMOID:
        return V::div(V::mul(V::positive(y), V::positive(V::sub(one, y))), V::set1(6));
      case CONVEYOR_RELU: return V::positive(y);
      default: return one;
    }
  }

  // exp of K vectors side by side: alone, each would wait for itself.
  template <int K>
  static inline __attribute__((always_inline)) void exps(const reg (&z)[K], reg (&value)[K],
                                                         reg (&minus_one)[K]) {
    reg n[K], r[K], q[K];
    const reg log2e = V::set1(1.44269504088896341f);
#define CONVEYOR_EACH _Pragma("GCC unroll 16") for (int k = 0; k < K; ++k)
    CONVEYOR_EACH n[k] = V::round(V::mul(z[k], log2e));
    CONVEYOR_EACH r[k] = V::fma(z[k], log2e, V::neg(n[k]));
    CONVEYOR_EACH q[k] = V::set1(0.0001535342598799616f);
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.0013398876180872321f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.00961843691766262f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.055503323674201965f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.24022647738456726f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.6931471824645996f));
    CONVEYOR_EACH q[k] = V::mul(q[k], r[k]);
    CONVEYOR_EACH n[k] = V::exp2(n[k]);
    CONVEYOR_EACH value[k] = V::fma(n[k], q[k], n[k]);
    CONVEYOR_EACH minus_one[k] = V::fma(n[k], q[k], V::sub(n[k], V::set1(1)));
  }

  template <int K>
  static inline __attribute__((always_inline)) void tanhs(const reg (&z)[K], reg (&y)[K]) {
    reg e[K], minus_one[K];
    CONVEYOR_EACH e[k] = V::mul(clamp(z[k], -20, 20), V::set1(-2));
    exps<K>(e, e, minus_one);
    CONVEYOR_EACH y[k] = V::mul(V::neg(minus_one[k]), V::inverse(V::add(minus_one[k], V::set1(2))));
  }

  // What a step of sigmoid and tanh makes of the preactivations of K rows, when nobody asks
  // for the gates: c = f c' + i g and h = o tanh(c), with one division each instead of five.
  template <int K>
  static inline __attribute__((always_inline)) void short_step(const reg (&z)[K][4], reg (&c)[K],
                                                               reg (&h)[K]) {
    const reg one = V::set1(1), two = V::set1(2);
    // Bounded so that a product of three stays finite; sigmoid(-28) is 7e-13.
    reg e[4 * K], minus_one[4 * K];
    CONVEYOR_EACH e[4 * k] = V::neg(clamp(z[k][0], -28, 87));
    CONVEYOR_EACH e[4 * k + 1] = V::neg(clamp(z[k][1], -28, 87));
    CONVEYOR_EACH e[4 * k + 2] = V::mul(clamp(z[k][2], -14, 20), V::set1(-2));
    CONVEYOR_EACH e[4 * k + 3] = V::neg(clamp(z[k][3], -28, 87));
    exps<4 * K>(e, e, minus_one);
    reg b[K], d[K], shared[K];
    CONVEYOR_EACH b[k] = V::add(one, e[4 * k + 1]);
    CONVEYOR_EACH d[k] = V::mul(V::add(one, e[4 * k]), V::add(two, minus_one[4 * k + 2]));
    CONVEYOR_EACH shared[k] = V::inverse(V::mul(d[k], b[k]));
    CONVEYOR_EACH b[k] = V::mul(V::mul(minus_one[4 * k + 2], b[k]), shared[k]);
    CONVEYOR_EACH c[k] = V::fma(c[k], V::mul(d[k], shared[k]), V::neg(b[k]));
    reg c2[K], c1[K];
    CONVEYOR_EACH c2[k] = V::mul(clamp(c[k], -14, 20), V::set1(-2));
    exps<K>(c2, c2, c1);
    CONVEYOR_EACH d[k] = V::mul(V::add(one, e[4 * k + 3]), V::add(two, c1[k]));
    CONVEYOR_EACH h[k] = V::mul(V::neg(c1[k]), V::inverse(d[k]));
  }

  // The same, with the gates in place of z.
  template <int K>
  static inline __attribute__((always_inline)) void long_step(reg (&z)[K][4], reg (&c)[K],
                                                              reg (&h)[K]) {
    const reg one = V::set1(1), two = V::set1(2);
    reg e[4 * K], minus_one[4 * K];
    CONVEYOR_EACH e[4 * k] = V::neg(clamp(z[k][0], -87, 87));
    CONVEYOR_EACH e[4 * k + 1] = V::neg(clamp(z[k][1], -87, 87));
    CONVEYOR_EACH e[4 * k + 2] = V::mul(clamp(z[k][2], -20, 20), V::set1(-2));
    CONVEYOR_EACH e[4 * k + 3] = V::neg(clamp(z[k][3], -87, 87));
    exps<4 * K>(e, e, minus_one);
    CONVEYOR_EACH z[k][0] = V::inverse(V::add(one, e[4 * k]));
    CONVEYOR_EACH z[k][1] = V::inverse(V::add(one, e[4 * k + 1]));
    CONVEYOR_EACH z[k][2] =
        V::mul(V::neg(minus_one[4 * k + 2]), V::inverse(V::add(two, minus_one[4 * k + 2])));
    CONVEYOR_EACH z[k][3] = V::inverse(V::add(one, e[4 * k + 3]));
    CONVEYOR_EACH c[k] = V::fma(z[k][1], c[k], V::mul(z[k][0], z[k][2]));
    tanhs<K>(c, h);
    CONVEYOR_EACH h[k] = V::mul(z[k][3], h[k]);
  }
#undef CONVEYOR_EACH
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
