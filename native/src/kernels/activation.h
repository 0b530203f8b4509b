// The activations, on vectors; those with parameters are in functions.h.
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

  static inline reg clamp(reg z, float low, float high) {
    return V::max(V::set1(low), V::min(V::set1(high), z));  // both return z where it is NaN
  }

  static inline reg sigmoid(reg z) {
    if constexpr (is_float) {
      reg y[1] = {z};
      sigmoids<1>(y, y);
      return y[0];
    } else {
      return V::map(z, [](double v) { return 1 / (1 + std::exp(-v)); });
    }
  }

  static inline reg tanh(reg z) {
    if constexpr (is_float) {
      reg y[1] = {z};
      tanhs<1>(y, y);
      return y[0];
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

  static constexpr float kLog2e = 1.44269504088896341f;
  // Powers of 2: one whose inverse is no denormal; one of which three may be multiplied.
  static constexpr float kMost = 125, kMostOfThree = 40;

  // All that follows takes K vectors side by side: alone, each would wait for itself.
#define CONVEYOR_EACH _Pragma("GCC unroll 16") for (int k = 0; k < K; ++k)

  // exp(factor z), but not more than 2^most. NaN stays NaN.
  // 2^y = 2^floor(y) q(r), r = y - floor(y), with q of degree 6 (minimax, 2e-9), q(0) = 1 and
  // q(1) = 2 in float32. Off by 1e-7 of the value, and where |z| is large by more, as y is rounded:
  // 5e-7 at 10, where a sigmoid is 5e-5.
  template <int K>
  static inline __attribute__((always_inline)) void exps(const reg (&z)[K], float factor,
                                                         float most, reg (&e)[K]) {
    reg r[K], q[K];
    const reg to_power = V::set1(factor * kLog2e);
    CONVEYOR_EACH e[k] = V::bounded(V::min(V::set1(most), V::mul(z[k], to_power)));
    CONVEYOR_EACH r[k] = V::fraction(e[k]);
    CONVEYOR_EACH q[k] = V::set1(0.00021612942509818822f);
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.0012467838823795319f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.00967545248568058f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.055485282093286514f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.2402293086051941f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.6931470632553101f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(1));
    CONVEYOR_EACH e[k] = V::scale(q[k], e[k]);
  }

  // exp(factor z) - 1, exact near zero: there floor(y) would not do, but the nearest integer n.
  // 2^n (1 + r q(r)) - 1 = 2^n r q(r) + (2^n - 1), |r| <= 1/2, 1 + r q(r) within 2e-9 of 2^r.
  template <int K>
  static inline __attribute__((always_inline)) void exps_less_one(const reg (&z)[K], float factor,
                                                                  float most, reg (&e)[K]) {
    reg r[K], q[K];
    const reg to_power = V::set1(factor * kLog2e), one = V::set1(1);
    CONVEYOR_EACH e[k] = V::bounded(V::min(V::set1(most), V::mul(z[k], to_power)));
    CONVEYOR_EACH r[k] = V::round(e[k]);
    CONVEYOR_EACH q[k] = V::scale(one, r[k]);
    CONVEYOR_EACH r[k] = V::offset(e[k], r[k]);
    CONVEYOR_EACH e[k] = q[k];
    CONVEYOR_EACH q[k] = V::set1(0.0001535342598799616f);
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.0013398876180872321f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.00961843691766262f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.055503323674201965f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.24022647738456726f));
    CONVEYOR_EACH q[k] = V::fma(q[k], r[k], V::set1(0.6931471824645996f));
    CONVEYOR_EACH q[k] = V::mul(q[k], r[k]);
    CONVEYOR_EACH e[k] = V::fma(e[k], q[k], V::sub(e[k], one));
  }

  // 1 / (1 + exp(-z))
  template <int K>
  static inline __attribute__((always_inline)) void sigmoids(const reg (&z)[K], reg (&y)[K]) {
    exps<K>(z, -1, kMost, y);
    CONVEYOR_EACH y[k] = V::inverse(V::add(V::set1(1), y[k]));
  }

  // (1 - e) / (1 + e), e = exp(-2z)
  template <int K>
  static inline __attribute__((always_inline)) void tanhs(const reg (&z)[K], reg (&y)[K]) {
    exps_less_one<K>(z, -2, kMost, y);
    CONVEYOR_EACH y[k] = V::mul(V::neg(y[k]), V::inverse(V::add(y[k], V::set1(2))));
  }

  // What a step of sigmoid and tanh makes of the preactivations of K rows, when nobody asks
  // for the gates: c = f c' + i g and h = o tanh(c), with one division each instead of five.
  template <int K>
  static inline __attribute__((always_inline)) void short_step(const reg (&z)[K][4], reg (&c)[K],
                                                               reg (&h)[K]) {
    const reg one = V::set1(1), two = V::set1(2);
    reg e[3 * K], m[K];  // of the sigmoids: input, forget, output gate; of tanh
    CONVEYOR_EACH e[3 * k] = z[k][0];
    CONVEYOR_EACH e[3 * k + 1] = z[k][1];
    CONVEYOR_EACH e[3 * k + 2] = z[k][3];
    CONVEYOR_EACH m[k] = z[k][2];
    exps<3 * K>(e, -1, kMostOfThree, e);
    exps_less_one<K>(m, -2, kMostOfThree, m);
    reg b[K], d[K], shared[K];
    CONVEYOR_EACH b[k] = V::add(one, e[3 * k + 1]);
    CONVEYOR_EACH d[k] = V::mul(V::add(one, e[3 * k]), V::add(two, m[k]));
    CONVEYOR_EACH shared[k] = V::inverse(V::mul(d[k], b[k]));
    CONVEYOR_EACH b[k] = V::mul(V::mul(m[k], b[k]), shared[k]);
    CONVEYOR_EACH c[k] = V::sub(V::mul(c[k], V::mul(d[k], shared[k])), b[k]);
    exps_less_one<K>(c, -2, kMostOfThree, m);
    CONVEYOR_EACH d[k] = V::mul(V::add(one, e[3 * k + 2]), V::add(two, m[k]));
    CONVEYOR_EACH h[k] = V::mul(V::neg(m[k]), V::inverse(d[k]));
  }

  // The same, with the gates in place of z.
  template <int K>
  static inline __attribute__((always_inline)) void long_step(reg (&z)[K][4], reg (&c)[K],
                                                              reg (&h)[K]) {
    reg y[3 * K], g[K];
    CONVEYOR_EACH y[3 * k] = z[k][0];
    CONVEYOR_EACH y[3 * k + 1] = z[k][1];
    CONVEYOR_EACH y[3 * k + 2] = z[k][3];
    CONVEYOR_EACH g[k] = z[k][2];
    sigmoids<3 * K>(y, y);
    tanhs<K>(g, g);
    CONVEYOR_EACH z[k][0] = y[3 * k];
    CONVEYOR_EACH z[k][1] = y[3 * k + 1];
    CONVEYOR_EACH z[k][2] = g[k];
    CONVEYOR_EACH z[k][3] = y[3 * k + 2];
    CONVEYOR_EACH c[k] = V::fma(z[k][1], c[k], V::mul(z[k][0], z[k][2]));
    tanhs<K>(c, h);
    CONVEYOR_EACH h[k] = V::mul(z[k][3], h[k]);
  }
#undef CONVEYOR_EACH
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
