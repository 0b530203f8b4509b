// Every activation of a request, with its parameters: values of several vectors, and slopes.
#pragma once

#include <cmath>

#include "conveyor/lstm.h"
#include "kernels/activation.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V>
class Function {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  using Act = Activation<V>;

  Function(int kind, double alpha, double beta)
      : kind_(kind), alpha_(static_cast<T>(alpha)), beta_(static_cast<T>(beta)) {}
  static Function of(const conveyor_lstm& l, int which) {
    const int kinds[CONVEYOR_FUNCTIONS] = {l.activation, l.recurrent_activation,
                                           l.output_activation};
    return {kinds[which], l.alpha[which], l.beta[which]};
  }

  int kind() const { return kind_; }
  // Whether the slope follows from the value alone.
  bool slope_from_value() const { return kind_ <= CONVEYOR_LINEAR; }

  // N side by side: alone, each would wait for itself.
  template <int N>
  void apply(reg (&z)[N]) const {
    if constexpr (Act::is_float) {
      if (kind_ == CONVEYOR_TANH) return Act::template tanhs<N>(z, z);
      if (kind_ == CONVEYOR_SIGMOID) return Act::template sigmoids<N>(z, z);
    }
    for (reg& one : z) one = value(one);
  }

  reg value(reg z) const;
  // d value / dz, at z, where y = value(z).
  reg slope(reg z, reg y) const;

 private:
  static reg one() { return V::set1(1); }
  static reg least(reg z) { return V::max(V::zero(), z); }     // NaN stays NaN
  static reg most(reg z) { return V::min(V::zero(), z); }
  static reg size(reg z) { return V::max(V::neg(z), z); }
  static reg times(double factor, reg z) { return V::mul(V::set1(static_cast<T>(factor)), z); }
  // exp(z).
  static reg exponential(reg z) {
    if constexpr (Act::is_float) {
      reg e[1] = {z};
      Act::template exps<1>(e, 1, 128, e);  // 2^128 is infinity
      return e[0];
    } else {
      return V::map(z, [](double v) { return std::exp(v); });
    }
  }
  // exp(z) - 1 for z up to 0.
  static reg less_one(reg z) {
    if constexpr (Act::is_float) {
      reg e[1] = {z};
      Act::template exps_less_one<1>(e, 1, 0, e);
      return e[0];
    } else {
      return V::map(z, [](double v) { return std::expm1(v); });
    }
  }
  // log(1 + u) for u from 0 to 1: 2 artanh(u / (2 + u)), whose series ends below 1e-8.
  static reg log_of_one_and(reg u) {
    if constexpr (Act::is_float) {
      const reg s = V::div(u, V::add(V::set1(2), u)), q = V::mul(s, s);
      reg sum = V::set1(2 / 13.0f);
      for (float k : {11.0f, 9.0f, 7.0f, 5.0f, 3.0f, 1.0f})
        sum = V::fma(sum, q, V::set1(2 / k));
      return V::mul(s, sum);
    } else {
      return V::map(u, [](double v) { return std::log1p(v); });
    }
  }
  static reg softplus(reg z) {
    return V::add(least(z), log_of_one_and(exponential(V::neg(size(z)))));
  }
  static reg tanh_of_softplus(reg z) {
    // With e = exp(z): (e^2 + 2 e) / (e^2 + 2 e + 2), 1 in all digits beyond 20.
    const reg e = exponential(V::min(V::set1(20), z));
    const reg n = V::mul(e, V::add(e, V::set1(2)));
    return V::div(n, V::add(n, V::set1(2)));
  }
  // Phi(z), and in float within 1e-7 of it: Abramowitz & Stegun 7.1.26, erf within 1.5e-7.
  static reg normal(reg z) {
    if constexpr (Act::is_float) {
      const reg x = times(std::sqrt(0.5), size(z));
      const reg t = V::div(one(), V::fma(V::set1(0.3275911f), x, one()));
      reg tail = V::set1(1.061405429f);
      for (float k : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
        tail = V::fma(tail, t, V::set1(k));
      tail = V::mul(times(0.5, V::mul(tail, t)), exponential(V::neg(V::mul(x, x))));
      const reg above = V::positive(z);  // 1 - tail where positive, else tail
      return V::fma(above, V::fma(V::set1(-2), tail, one()), tail);
    } else {
      return V::map(z, [](double v) { return 0.5 * std::erfc(-v * std::sqrt(0.5)); });
    }
  }
  static reg density(reg z) {
    return times(1 / std::sqrt(2 * 3.14159265358979323846),
                 exponential(times(-0.5, V::mul(z, z))));
  }
  // Of the approximate GELU: the argument of its tanh, and that one's slope.
  static reg bent(reg z) {
    const reg cube = V::mul(V::mul(z, z), z);
    return times(kBent, V::fma(V::set1(T(0.044715)), cube, z));
  }
  static reg slope_of_bent(reg z) {
    return times(kBent, V::fma(V::set1(T(3 * 0.044715)), V::mul(z, z), one()));
  }
  static reg within(reg z, reg low, reg high) {  // 1 between the two, else 0
    return V::mul(V::positive(V::sub(z, low)), V::positive(V::sub(high, z)));
  }
  static reg root(reg z) {
    return V::map(z, [](T v) { return std::sqrt(v); });
  }
  static constexpr double kBent = 0.79788456080286535588;  // sqrt(2 / pi)

  const int kind_;
  const T alpha_, beta_;
};

template <class V>
auto Function<V>::value(reg z) const -> reg {
  const reg a = V::set1(alpha_), b = V::set1(beta_);
  switch (kind_) {
    case CONVEYOR_AFFINE: return V::fma(a, z, b);
    case CONVEYOR_LEAKY_RELU: return V::fma(a, most(z), least(z));
    // A product with zero must not meet infinity.
    case CONVEYOR_THRESHOLDED_RELU: return V::mul(V::max(a, z), V::positive(V::sub(z, a)));
    case CONVEYOR_SCALED_TANH: return V::mul(a, Act::tanh(V::mul(b, z)));
    case CONVEYOR_CLAMPED_AFFINE: return Act::clamp(V::fma(a, z, b), 0, 1);
    case CONVEYOR_ELU: return V::mul(b, V::fma(a, less_one(most(z)), least(z)));
    case CONVEYOR_SOFTSIGN: return V::div(z, V::add(one(), size(z)));
    case CONVEYOR_SOFTPLUS: return softplus(z);
    case CONVEYOR_CLAMP: return V::max(a, V::min(b, z));
    case CONVEYOR_SILU: return V::mul(z, Act::sigmoid(z));
    case CONVEYOR_HARD_SILU: return V::mul(z, Act::apply(CONVEYOR_HARD_SIGMOID, z));
    case CONVEYOR_GELU: return V::mul(z, normal(z));
    case CONVEYOR_GELU_TANH: return times(0.5, V::fma(z, Act::tanh(bent(z)), z));
    case CONVEYOR_EXPONENTIAL: return exponential(z);
    case CONVEYOR_MISH: return V::mul(z, tanh_of_softplus(z));
    case CONVEYOR_LOG_SIGMOID: return V::neg(softplus(V::neg(z)));
    case CONVEYOR_TANH_SHRINK: return V::sub(z, Act::tanh(z));
    case CONVEYOR_SOFT_SHRINK: return V::add(least(V::sub(z, a)), most(V::add(z, a)));
    case CONVEYOR_HARD_SHRINK: return V::mul(z, V::positive(V::sub(size(z), a)));
    case CONVEYOR_SQUAREPLUS: return times(0.5, V::add(z, root(V::fma(z, z, a))));
    case CONVEYOR_SPARSE_PLUS: {
      const reg half = times(0.5, V::add(Act::clamp(z, -1, 1), one()));
      return V::fma(half, half, least(V::sub(z, one())));
    }
    default: return Act::apply(kind_, z);
  }
}

template <class V>
auto Function<V>::slope(reg z, reg y) const -> reg {
  const reg a = V::set1(alpha_), b = V::set1(beta_);
  switch (kind_) {
    case CONVEYOR_AFFINE: return a;
    case CONVEYOR_LEAKY_RELU: return V::fma(V::positive(V::neg(z)), V::sub(a, one()), one());
    case CONVEYOR_THRESHOLDED_RELU: return V::positive(V::sub(z, a));
    case CONVEYOR_SCALED_TANH:
      return V::mul(V::mul(a, b), Act::slope(CONVEYOR_TANH, Act::tanh(V::mul(b, z))));
    case CONVEYOR_CLAMPED_AFFINE:
      return V::mul(a, V::mul(V::positive(y), V::positive(V::sub(one(), y))));
    case CONVEYOR_ELU:
      return V::mul(b, V::fma(V::positive(V::neg(z)),
                              V::sub(V::mul(a, V::add(less_one(most(z)), one())), one()), one()));
    case CONVEYOR_SOFTSIGN: {
      const reg r = V::div(one(), V::add(one(), size(z)));
      return V::mul(r, r);
    }
    case CONVEYOR_SOFTPLUS: return Act::sigmoid(z);
    case CONVEYOR_CLAMP: return within(z, a, b);
    case CONVEYOR_SILU: {
      const reg s = Act::sigmoid(z);
      return V::fma(y, V::sub(one(), s), s);
    }
    case CONVEYOR_HARD_SILU: {
      const reg s = Act::apply(CONVEYOR_HARD_SIGMOID, z);
      return V::fma(z, Act::slope(CONVEYOR_HARD_SIGMOID, s), s);
    }
    case CONVEYOR_GELU: return V::fma(z, density(z), normal(z));
    case CONVEYOR_GELU_TANH: {
      const reg t = Act::tanh(bent(z));
      const reg turn = V::mul(Act::slope(CONVEYOR_TANH, t), slope_of_bent(z));
      return times(0.5, V::fma(z, turn, V::add(one(), t)));
    }
    case CONVEYOR_EXPONENTIAL: return y;
    case CONVEYOR_MISH: {
      const reg t = tanh_of_softplus(z);
      return V::fma(V::mul(z, Act::sigmoid(z)), Act::slope(CONVEYOR_TANH, t), t);
    }
    case CONVEYOR_LOG_SIGMOID: return Act::sigmoid(V::neg(z));
    case CONVEYOR_TANH_SHRINK: {
      const reg t = Act::tanh(z);
      return V::mul(t, t);
    }
    case CONVEYOR_SOFT_SHRINK:
    case CONVEYOR_HARD_SHRINK: return V::positive(V::sub(size(z), a));
    case CONVEYOR_SQUAREPLUS: return times(0.5, V::add(one(), V::div(z, root(V::fma(z, z, a)))));
    case CONVEYOR_SPARSE_PLUS: return times(0.5, V::add(Act::clamp(z, -1, 1), one()));
    default: return Act::slope(kind_, y);
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
