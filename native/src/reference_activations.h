// The activations to read, in any floating-point type, and their slopes in double.
#pragma once

#include <cmath>

#include "conveyor/lstm.h"

namespace conveyor::reference {


template <class D>
D sigmoid(D z) {
  return 1 / (1 + std::exp(-z));
}

template <class D>
D activate(int kind, D a, D b, D z) {
  const D softplus = std::log1p(std::exp(-std::fabs(z))) + (z > 0 ? z : 0);
  const D hard_sigmoid = z <= -3 ? D(0) : z >= 3 ? D(1) : (z + 3) / 6;
  if (std::isnan(z)) return z;
  switch (kind) {
    case CONVEYOR_TANH: return std::tanh(z);
    case CONVEYOR_SIGMOID: return sigmoid(z);
    case CONVEYOR_HARD_SIGMOID: return hard_sigmoid;
    case CONVEYOR_RELU: return z <= 0 ? 0 : z;
    case CONVEYOR_LINEAR: return z;
    case CONVEYOR_AFFINE: return a * z + b;
    case CONVEYOR_LEAKY_RELU: return z < 0 ? a * z : z;
    case CONVEYOR_THRESHOLDED_RELU: return z > a ? z : 0;
    case CONVEYOR_SCALED_TANH: return a * std::tanh(b * z);
    case CONVEYOR_CLAMPED_AFFINE: return std::fmin(D(1), std::fmax(D(0), a * z + b));
    case CONVEYOR_ELU: return b * (z > 0 ? z : a * std::expm1(z));
    case CONVEYOR_SOFTSIGN: return z / (1 + std::fabs(z));
    case CONVEYOR_SOFTPLUS: return softplus;
    case CONVEYOR_CLAMP: return std::fmax(a, std::fmin(b, z));
    case CONVEYOR_SILU: return z * sigmoid(z);
    case CONVEYOR_HARD_SILU: return z * hard_sigmoid;
    case CONVEYOR_GELU: return z * 0.5 * (1 + std::erf(z / std::sqrt(D(2))));
    case CONVEYOR_GELU_TANH:
      return 0.5 * z * (1 + std::tanh(std::sqrt(2 / std::acos(D(-1))) * (z + D(0.044715) * z * z * z)));
    case CONVEYOR_EXPONENTIAL: return std::exp(z);
    case CONVEYOR_MISH: return z * std::tanh(softplus);
    case CONVEYOR_LOG_SIGMOID: return z - softplus;
    case CONVEYOR_TANH_SHRINK: return z - std::tanh(z);
    case CONVEYOR_SOFT_SHRINK: return z > a ? z - a : z < -a ? z + a : 0;
    case CONVEYOR_HARD_SHRINK: return std::fabs(z) > a ? z : 0;
    case CONVEYOR_SQUAREPLUS: return (z + std::sqrt(z * z + a)) / 2;
    default: return z <= -1 ? 0 : z >= 1 ? z : (z + 1) * (z + 1) / 4;
  }
}

// d activate / dz: as it is written where there are kinks, and measured elsewhere.
inline double slope(int kind, double a, double b, double z) {
  if (std::isnan(z)) return z;
  const double y = activate<double>(kind, a, b, z);
  switch (kind) {
    case CONVEYOR_TANH: return 1 - y * y;
    case CONVEYOR_SIGMOID: return y * (1 - y);
    case CONVEYOR_HARD_SIGMOID: return y > 0 && y < 1 ? 1.0 / 6 : 0;
    case CONVEYOR_RELU: return z > 0;
    case CONVEYOR_LINEAR: return 1;
    case CONVEYOR_LEAKY_RELU: return z < 0 ? a : 1;
    case CONVEYOR_THRESHOLDED_RELU: return z > a;
    case CONVEYOR_CLAMPED_AFFINE: return y > 0 && y < 1 ? a : 0;
    case CONVEYOR_ELU: return z > 0 ? b : b * a * std::exp(z);
    case CONVEYOR_SOFTSIGN: return 1 / ((1 + std::fabs(z)) * (1 + std::fabs(z)));
    case CONVEYOR_CLAMP: return y > a && y < b;
    case CONVEYOR_HARD_SILU: return z <= -3 ? 0 : z >= 3 ? 1 : (2 * z + 3) / 6;
    case CONVEYOR_SOFT_SHRINK:
    case CONVEYOR_HARD_SHRINK: return std::fabs(z) > a;
    case CONVEYOR_SPARSE_PLUS: return z <= -1 ? 0 : z >= 1 ? 1 : (z + 1) / 2;
    default: {
      const long double h = 1e-4L;
      const auto rise = [&](long double by) {
        return activate<long double>(kind, a, b, z + by) - activate<long double>(kind, a, b, z - by);
      };
      return static_cast<double>((8 * rise(h) - rise(2 * h)) / (12 * h));
    }
  }
}

}  // namespace conveyor::reference
