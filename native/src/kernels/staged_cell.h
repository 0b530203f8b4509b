// A request in stages: what both directions know of a row of it, from what the products left to
// the gates and the cell state.
#pragma once

#include <cstring>

#include "kernels/norm.h"
#include "kernels/pack.h"
#include "kernels/shape.h"
#include "kernels/variant.h"
#include "stages.h"
#include "workspace.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// The reserve: rows of states, of step t and row b of the batch at (t * B + b).
template <class State>
struct KeptInStages {
  KeptInStages() = default;
  KeptInStages(const conveyor_lstm& l, void* reserve)
      : batch(l.batch), width((l.units + 15) / 16 * 16),
        per_row(moments_kept_in_stages(l)), z(static_cast<State*>(reserve)) {
    const int64_t units = l.batch * l.time_steps * width;
    State* next = z + units * 4;
    if (l.layer_norm == CONVEYOR_JOINT) x = next, next += units * 4;
    cells = next, next += units;
    if (l.output_transform) inner = next, next += units;
    moments = next;
  }
  int64_t row(int64_t b, int64_t t) const { return (t * batch + b) * width; }
  State* moments_of(int64_t b, int64_t t) const { return moments + (t * batch + b) * per_row; }

  int64_t batch = 0, width = 0, per_row = 0;
  State* z = nullptr;      // [P][4][L]: x W + h' R + b; with a layer normalisation without b,
  State* x = nullptr;      // and with CONVEYOR_JOINT h' R alone, and x W here
  State* cells = nullptr;  // after zoneout
  State* inner = nullptr;  // c W5 + b5
  State* moments = nullptr;  // [2 or 1][mean, inverse][4] of a layer normalisation: of z, of x
};

template <class V, class Real>
class StagedCell {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  static constexpr int L = V::L;
  static constexpr int kMoments = kMomentsOfANorm;
  static_assert(sizeof(typename Norm<V, 4>::Row) == kMoments * sizeof(T), "mean and inverse");

  StagedCell(const conveyor_lstm& l, const Shape& s, const Variant<V>& v, Workspace& memory)
      : v_(v), joint(l.layer_norm == CONVEYOR_JOINT),
        gates_norm(l.units, joint, joint && l.coupled), cell_norm(l.units) {
    const auto packed = [&](const void* from, int vectors) -> const T* {
      if (!from) return nullptr;
      T* const to = memory.take<T>(s.P * vectors * L);
      for (int64_t p = 0; p < s.P; ++p) {
        const auto* array = static_cast<const Real*>(from);
        if (vectors == 4)
          pack_vectors<V, 4>(array, s.U, p, to + p * 4 * L);
        else if (vectors == 3)
          pack_vectors<V, 3>(array, s.U, p, to + p * 3 * L);
        else
          pack_vectors<V, 1>(array, s.U, p, to + p * L);
      }
      return to;
    };
    if (l.layer_norm) {
      const auto* scale = static_cast<const Real*>(l.gate_scale);
      x_scale = joint ? packed(scale, 4) : nullptr;
      scale_ = packed(joint ? scale + 4 * l.units : scale, 4);
      bias_ = packed(l.bias, 4);
    }
    if (l.cell_norm) cell_scale = packed(l.cell_scale, 1), cell_shift = packed(l.cell_shift, 1);
    if (l.output_transform) output_bias = packed(l.output_bias, 1);
    if (l.peephole) peephole = packed(l.peephole, 3);
  }

  bool norms_gates() const { return scale_; }
  const T* h_scale() const { return scale_; }

  // What the products left of a row, and how it is normalised.
  struct Left {
    const T *z, *x;
    typename Norm<V, 4>::Row of_z, of_x;
  };
  // Forward; they are kept in `moments`, unless that is null.
  Left left(const T* z, const T* x, T* moments) const {
    Left left{z, x, {}, {}};
    if (scale_) left.of_z = gates_norm.of(z);
    if (joint) left.of_x = gates_norm.of(x);
    if (moments && scale_) std::memcpy(moments, &left.of_z, sizeof left.of_z);
    if (moments && joint) std::memcpy(moments + kMoments, &left.of_x, sizeof left.of_x);
    return left;
  }
  // Backward.
  Left kept_left(const T* z, const T* x, const T* moments) const {
    Left left{z, x, {}, {}};
    if (scale_) std::memcpy(static_cast<void*>(&left.of_z), moments, sizeof left.of_z);
    if (joint) std::memcpy(static_cast<void*>(&left.of_x), moments + kMoments, sizeof left.of_x);
    return left;
  }

  // Of one panel, what goes into its gates before peepholes and clips.
  void into_gates(const Left& left, int64_t p, reg (&to)[4]) const {
    for (int k = 0; k < 4; ++k) {
      const int64_t at = (p * 4 + k) * L;
      if (!scale_) {
        to[k] = V::load(left.z + at);
        continue;
      }
      to[k] = V::fma(gates_norm.normal(left.z, left.of_z, p, k), V::load(scale_ + at),
                     bias_ ? V::load(bias_ + at) : V::zero());
      if (joint)
        to[k] = V::fma(gates_norm.normal(left.x, left.of_x, p, k), V::load(x_scale + at), to[k]);
    }
  }

  // Of one panel of a cell state on its way out.
  reg normal_cell(const T* made, const typename Norm<V, 1>::Row& of_row, int64_t p) const {
    return V::fma(cell_norm.normal(made, of_row, p, 0), V::load(cell_scale + p * L),
                  V::load(cell_shift + p * L));
  }

  // K panels from the p-th on: z becomes the gates, `into` what went into them before clips, and
  // `made` the cell state before zoneout.
  template <int K>
  void step(reg (&z)[K][4], reg (&into)[K][4], const reg (&before)[K], reg (&made)[K],
            int64_t p) const {
    reg gates[2 * K], g[K], o[K];
    for (int k = 0; k < K; ++k) {
      if (peephole) {
        const T* const its = peephole + (p + k) * 3 * L;
        z[k][0] = V::fma(V::load(its), before[k], z[k][0]);
        z[k][1] = V::fma(V::load(its + L), before[k], z[k][1]);
      }
      gates[2 * k] = v_.clipped(z[k][0], v_.clip);
      gates[2 * k + 1] = v_.clipped(z[k][1], v_.clip);
      g[k] = v_.clipped(z[k][2], v_.clip);
    }
    v_.sigma.apply(gates);
    v_.phi.apply(g);
    for (int k = 0; k < K; ++k) {
      if (v_.coupled) gates[2 * k] = V::sub(V::set1(1), gates[2 * k + 1]);
      made[k] = v_.clipped(V::fma(gates[2 * k + 1], before[k], V::mul(gates[2 * k], g[k])),
                           v_.cell_clip);
      if (peephole)
        z[k][3] = V::fma(V::load(peephole + ((p + k) * 3 + 2) * L), made[k], z[k][3]);
      o[k] = v_.clipped(z[k][3], v_.clip);
    }
    v_.sigma.apply(o);
    for (int k = 0; k < K; ++k) {
      for (int gate = 0; gate < 4; ++gate) into[k][gate] = z[k][gate];
      z[k][0] = gates[2 * k], z[k][1] = gates[2 * k + 1], z[k][2] = g[k], z[k][3] = o[k];
    }
  }

 private:
  const Variant<V>& v_;
  const T *scale_ = nullptr, *bias_ = nullptr;

 public:
  const bool joint;
  const Norm<V, 4> gates_norm;
  const Norm<V, 1> cell_norm;
  const T *x_scale = nullptr, *cell_scale = nullptr, *cell_shift = nullptr, *output_bias = nullptr;
  const T* peephole = nullptr;
};

// Runs run(p, Rows<K>{}) for all panels, by twos: alone, each would wait for itself.
template <class Run>
inline void by_panels(int64_t P, Run run) {
  int64_t p = 0;
  for (; p + 2 <= P; p += 2) run(p, Rows<2>{});
  if (p < P) run(p, Rows<1>{});
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
