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

  // What one step makes of the four preactivations of tanh and sigmoid when nobody asks for
  // the gates: c = f c' + i g and h = o tanh(c) with one division each instead of five.
  static inline void short_step(reg zi, reg zf, reg zg, reg zo, reg& c, reg& h) {
    const reg one = V::set1(1), two = V::set1(2);
    reg unused, g1, c1;
    // Bounded so that a product of three stays finite; sigmoid(-28) is 7e-13.
    const reg a = V::add(one, exp(V::neg(clamp(zi, -28, 87)), unused));
    const reg b = V::add(one, exp(V::neg(clamp(zf, -28, 87)), unused));
    exp(V::mul(clamp(zg, -14, 20), V::set1(-2)), g1);
    const reg d = V::mul(a, V::add(two, g1));
    const reg shared = V::inverse(V::mul(d, b));
    c = V::fma(c, V::mul(d, shared), V::neg(V::mul(V::mul(g1, b), shared)));
    const reg o = V::add(one, exp(V::neg(clamp(zo, -28, 87)), unused));
    exp(V::mul(clamp(c, -14, 20), V::set1(-2)), c1);
    h = V::mul(V::neg(c1), V::inverse(V::mul(o, V::add(two, c1))));
  }
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
