// An LSTM to read, in double: the judge of every kernel, slow and plain.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "conveyor/lstm.h"
#include "real.h"
#include "reference_activations.h"

namespace conveyor::reference {

// One request, read as doubles; `Real` and `State` are the types of the arrays.
template <class Real, class State>
class Lstm {
 public:
  explicit Lstm(const conveyor_lstm& l)
      : l_(l), B(l.batch), T(l.time_steps), F(l.features), U(l.units),
        H(l.projection ? l.projection : l.units) {}

  void forward(const conveyor_lstm_outputs& out) const {
    for (int64_t b = 0; b < B; ++b) {
      const std::vector<Step> steps = run(b);
      for (int64_t t = 0; t < T; ++t) {
        const Step& s = steps[t];
        for (int64_t n = 0; n < H; ++n) put(out, CONVEYOR_HIDDEN_STATES, (b * T + t) * H + n, s.h[n]);
        for (int64_t u = 0; u < U; ++u) {
          const int64_t at = (b * T + t) * U + u;
          put(out, CONVEYOR_CELL_STATES, at, s.c[u]);
          for (int k = 0; k < 4; ++k)
            put(out, CONVEYOR_INPUT_GATES + k, at, s.counts ? s.y[k * U + u] : 0);
        }
      }
      for (int64_t n = 0; n < H; ++n)
        put(out, CONVEYOR_HIDDEN_STATE, b * H + n, T ? steps[T - 1].h[n] : h0(b, n));
      for (int64_t u = 0; u < U; ++u)
        put(out, CONVEYOR_CELL_STATE, b * U + u, T ? steps[T - 1].c[u] : c0(b, u));
    }
  }

  void backward(const conveyor_lstm_gradients& g) const {
    Sums sums(*this);
    for (int64_t b = 0; b < B; ++b) {
      const std::vector<Step> steps = run(b);
      Doubles dh(H), dc(U), dh_start(H), dc_start(U), dx(F);
      for (int64_t n = 0; n < H; ++n) dh[n] = get(g, CONVEYOR_HIDDEN_STATE, b * H + n);
      for (int64_t u = 0; u < U; ++u) dc[u] = get(g, CONVEYOR_CELL_STATE, b * U + u);
      for (int64_t t = T - 1; t >= 0; --t) {
        for (int64_t n = 0; n < H; ++n) dh[n] += get(g, CONVEYOR_HIDDEN_STATES, (b * T + t) * H + n);
        for (int64_t u = 0; u < U; ++u) dc[u] += get(g, CONVEYOR_CELL_STATES, (b * T + t) * U + u);
        std::fill(dx.begin(), dx.end(), 0);
        if (steps[t].counts) step_back(g, b, t, steps[t], dh, dc, dx, sums);
        for (int64_t f = 0; g.d_x && f < F; ++f)
          store(static_cast<Real*>(g.d_x) + (b * T + time(t)) * F + f, dx[f]);
        if (!reset(b, t)) continue;
        for (int64_t n = 0; n < H; ++n) dh_start[n] += start(b, t, dh[n]), dh[n] = 0;
        for (int64_t u = 0; u < U; ++u) dc_start[u] += start(b, t, dc[u]), dc[u] = 0;
      }
      for (int64_t n = 0; g.d_hidden_state && n < H; ++n)
        store(static_cast<Real*>(g.d_hidden_state) + b * H + n, dh[n] + dh_start[n]);
      for (int64_t u = 0; g.d_cell_state && u < U; ++u)
        store(static_cast<State*>(g.d_cell_state) + b * U + u, dc[u] + dc_start[u]);
    }
    write(g.d_kernel, sums.kernel);
    write(g.d_recurrent_kernel, sums.recurrent);
    write(g.d_bias, sums.bias);
    write(g.d_dropout_mask, sums.dropout);
    write(g.d_recurrent_dropout_mask, sums.recurrent_dropout);
    write(g.d_peephole, sums.peephole);
    write(g.d_output_kernel, sums.output_kernel);
    write(g.d_output_bias, sums.output_bias);
    write(g.d_projection_kernel, sums.projection);
    write(g.d_gate_scale, sums.gate_scale);
    write(g.d_cell_scale, sums.cell_scale);
    write(g.d_cell_shift, sums.cell_shift);
  }

 private:
  using Doubles = std::vector<double>;

  // What a step begins with, computes and leaves.
  struct Step {
    bool counts;
    Doubles h_before, c_before, z, y;  // z before it is clipped
    Doubles made;                      // c before zoneout
    Doubles x_normal, h_normal, c_normal;       // LN() of x W, of h' R or both, and of c
    double x_inverse[4], h_inverse[4], c_inverse;  // by how much: 1 / sqrt(var + epsilon)
    Doubles inner, u, outward;  // what W5 reads, what psi reads, what P reads
    Doubles h, c;
  };

  struct Sums {
    explicit Sums(const Lstm& l)
        : kernel(l.F * 4 * l.U), recurrent(l.H * 4 * l.U), bias(4 * l.U), peephole(3 * l.U),
          dropout(l.l_.dropout_masks * l.B * l.F),
          recurrent_dropout(l.l_.recurrent_dropout_masks * l.B * l.H), output_kernel(l.U * l.U),
          output_bias(l.U), projection(l.U * l.H), gate_scale(l.l_.layer_norm * 4 * l.U),
          cell_scale(l.U), cell_shift(l.U) {}
    Doubles kernel, recurrent, bias, peephole, dropout, recurrent_dropout, output_kernel,
        output_bias, projection, gate_scale, cell_scale, cell_shift;
  };

  std::vector<Step> run(int64_t b) const {
    std::vector<Step> steps(T);
    Doubles h(H), c(U);
    for (int64_t n = 0; n < H; ++n) h[n] = h0(b, n);
    for (int64_t u = 0; u < U; ++u) c[u] = c0(b, u);
    for (int64_t t = 0; t < T; ++t) {
      Step& s = steps[t];
      for (int64_t n = 0; n < H && reset(b, t); ++n) h[n] = start(b, t, h0(b, n));
      for (int64_t u = 0; u < U && reset(b, t); ++u) c[u] = start(b, t, c0(b, u));
      s.counts = mask(b, t);
      s.h_before = h, s.c_before = c;
      if (s.counts) compute(b, t, s, h, c);
      s.h = h, s.c = c;
    }
    return steps;
  }

  void compute(int64_t b, int64_t t, Step& s, Doubles& h, Doubles& c) const {
    preactivate(b, t, h, s);
    s.y.resize(4 * U), s.made.resize(U);
    for (int64_t u = 0; u < U; ++u) {
      double* z[4] = {&s.z[u], &s.z[U + u], &s.z[2 * U + u], &s.z[3 * U + u]};
      double* y[4] = {&s.y[u], &s.y[U + u], &s.y[2 * U + u], &s.y[3 * U + u]};
      if (l_.peephole) *z[0] += peephole(0, u) * c[u], *z[1] += peephole(1, u) * c[u];
      for (int k = 0; k < 3; ++k) *y[k] = value(gate(k), clipped(*z[k], l_.clip));
      if (l_.coupled) *y[0] = 1 - *y[1];
      s.made[u] = clipped(*y[1] * c[u] + *y[0] * *y[2], l_.cell_clip);
      if (l_.peephole) *z[3] += peephole(2, u) * s.made[u];
      *y[3] = value(gate(3), clipped(*z[3], l_.clip));
      const double kept = part(l_.cell_zoneout, l_.cell_part, b, t, u, U);
      c[u] = times(kept, c[u]) + times(1 - kept, s.made[u]);
    }
    way_out(s);
    for (int64_t n = 0; n < H; ++n) {
      double made = l_.projection ? 0 : s.outward[n];
      for (int64_t u = 0; l_.projection && u < U; ++u)
        made += s.outward[u] * load<Real>(l_.projection_kernel, u * H + n);
      const double kept = part(l_.hidden_zoneout, l_.hidden_part, b, t, n, H);
      h[n] = round_to<Real>(times(kept, h[n]) + times(1 - kept, made));
    }
  }

  // From the cell state to o * psi().
  void way_out(Step& s) const {
    s.inner = s.c_normal = s.made;
    if (l_.cell_norm) {
      s.c_inverse = normalise(&s.c_normal[0], U);
      for (int64_t u = 0; u < U; ++u)
        s.inner[u] = s.c_normal[u] * load<Real>(l_.cell_scale, u) + load<Real>(l_.cell_shift, u);
    }
    s.u = s.inner;
    if (l_.output_transform) {
      for (double& inner : s.inner) inner = round_to<Real>(inner);
      for (int64_t u = 0; u < U; ++u) {
        s.u[u] = load<Real>(l_.output_bias, u);
        for (int64_t k = 0; k < U; ++k)
          s.u[u] += s.inner[k] * load<Real>(l_.output_kernel, k * U + u);
      }
    }
    s.outward.resize(U);
    for (int64_t u = 0; u < U; ++u) {
      s.outward[u] = s.y[3 * U + u] * value(CONVEYOR_PSI, s.u[u]);
      if (l_.projection) s.outward[u] = round_to<Real>(s.outward[u]);
    }
  }

  void preactivate(int64_t b, int64_t t, const Doubles& h, Step& s) const {
    Doubles from_x(4 * U), from_h(4 * U);
    for (int64_t col = 0; col < 4 * U; ++col) {
      const int k = static_cast<int>(col / U);
      for (int64_t f = 0; f < F; ++f)
        from_x[col] += x(b, t, f) * drop(k, b, f) * load<Real>(l_.kernel, f * 4 * U + col);
      for (int64_t n = 0; n < H; ++n)
        from_h[col] +=
            h[n] * recurrent_drop(k, b, n) * load<Real>(l_.recurrent_kernel, n * 4 * U + col);
    }
    const bool joint = l_.layer_norm == CONVEYOR_JOINT;
    for (int64_t col = 0; !joint && col < 4 * U; ++col) from_h[col] += from_x[col];
    normalise_gates(from_h, s.h_inverse);
    if (joint) normalise_gates(from_x, s.x_inverse);
    s.z.resize(4 * U);
    for (int64_t col = 0; col < 4 * U; ++col) {
      s.z[col] = from_h[col] * scale(joint, col) + (joint ? from_x[col] * scale(0, col) : 0) +
                 (l_.bias ? load<Real>(l_.bias, col) : 0);
    }
    s.x_normal = from_x, s.h_normal = from_h;
  }

  // Of gate_scale, 1 where there is none.
  double scale(int row, int64_t col) const {
    return l_.layer_norm ? load<Real>(l_.gate_scale, row * 4 * U + col) : 1;
  }
  // An input gate that is not there has no say in means.
  int64_t first() const { return l_.layer_norm == CONVEYOR_JOINT && l_.coupled ? U : 0; }
  void normalise_gates(Doubles& z, double (&inverse)[4]) const {
    if (l_.layer_norm == CONVEYOR_JOINT) inverse[0] = normalise(&z[first()], 4 * U - first());
    for (int k = 0; l_.layer_norm == CONVEYOR_GATES && k < 4; ++k)
      inverse[k] = normalise(&z[k * U], U);
  }
  static double normalise(double* a, int64_t count) {
    double mean = 0, variance = 0;
    for (int64_t n = 0; n < count; ++n) mean += a[n] / count;
    for (int64_t n = 0; n < count; ++n) variance += (a[n] - mean) * (a[n] - mean) / count;
    const double inverse = 1 / std::sqrt(variance + 1e-5);
    for (int64_t n = 0; n < count; ++n) a[n] = (a[n] - mean) * inverse;
    return inverse;
  }
  // d a from d of LN(a), in place.
  static void normalise_back(const double* normal, double inverse, double* d, int64_t count) {
    double mean = 0, slope = 0;
    for (int64_t n = 0; n < count; ++n) mean += d[n] / count, slope += d[n] * normal[n] / count;
    for (int64_t n = 0; n < count; ++n) d[n] = (d[n] - mean - normal[n] * slope) * inverse;
  }
  // Of one row of gate_scale: dz of what it scaled, before the normalisation, from dz after it.
  Doubles gates_back(const Doubles& dz, const Doubles& normal, const double (&inverse)[4], int row,
                     Sums& sums) const {
    Doubles d(4 * U);
    for (int64_t col = 0; col < 4 * U; ++col) {
      d[col] = dz[col] * scale(row, col);
      if (l_.layer_norm) sums.gate_scale[row * 4 * U + col] += dz[col] * normal[col];
    }
    if (l_.layer_norm == CONVEYOR_JOINT)
      normalise_back(&normal[first()], inverse[0], &d[first()], 4 * U - first());
    for (int k = 0; l_.layer_norm == CONVEYOR_GATES && k < 4; ++k)
      normalise_back(&normal[k * U], inverse[k], &d[k * U], U);
    return d;
  }

  void step_back(const conveyor_lstm_gradients& g, int64_t b, int64_t t, const Step& s, Doubles& dh,
                 Doubles& dc, Doubles& dx, Sums& sums) const {
    const int64_t P4 = 4 * U;
    Doubles dz(P4), dh_before(H), made_h(H), d_outward(U), d_out(U), du(U);
    for (int64_t n = 0; n < H; ++n) {
      const double kept = part(l_.hidden_zoneout, l_.hidden_part, b, t, n, H);
      made_h[n] = times(1 - kept, dh[n]);
      dh_before[n] = times(kept, dh[n]);
    }
    if (!l_.projection) d_outward = made_h;
    for (int64_t u = 0; l_.projection && u < U; ++u)
      for (int64_t n = 0; n < H; ++n) {
        d_outward[u] += made_h[n] * load<Real>(l_.projection_kernel, u * H + n);
        sums.projection[u * H + n] += s.outward[u] * made_h[n];
      }
    for (int64_t u = 0; u < U; ++u) {
      d_out[u] = d_outward[u] * value(CONVEYOR_PSI, s.u[u]);
      du[u] = d_outward[u] * s.y[3 * U + u] * slope_of(CONVEYOR_PSI, s.u[u]);
    }
    Doubles d_made = du;
    for (int64_t k = 0; l_.output_transform && k < U; ++k) {
      d_made[k] = 0;
      sums.output_bias[k] += du[k];
      for (int64_t u = 0; u < U; ++u) {
        d_made[k] += du[u] * load<Real>(l_.output_kernel, k * U + u);
        sums.output_kernel[k * U + u] += s.inner[k] * du[u];
      }
    }
    if (l_.cell_norm) {
      for (int64_t u = 0; u < U; ++u) {
        sums.cell_scale[u] += d_made[u] * s.c_normal[u];
        sums.cell_shift[u] += d_made[u];
        d_made[u] *= load<Real>(l_.cell_scale, u);
      }
      normalise_back(&s.c_normal[0], s.c_inverse, &d_made[0], U);
    }
    for (int64_t u = 0; u < U; ++u) {
      const double *y = &s.y[u], *z = &s.z[u];
      double d[4];
      for (int k = 0; k < 4; ++k) d[k] = get(g, CONVEYOR_INPUT_GATES + k, (b * T + t) * U + u);
      const double kept_c = part(l_.cell_zoneout, l_.cell_part, b, t, u, U);

      d[3] += d_out[u];
      dz[3 * U + u] = d[3] * slope_of_gate(3, z[3 * U]);
      double through = times(1 - kept_c, dc[u]) + d_made[u];
      if (l_.peephole) through += dz[3 * U + u] * peephole(2, u);
      const double sum = y[U] * s.c_before[u] + y[0] * y[2 * U];
      if (l_.cell_clip > 0 && std::fabs(sum) > l_.cell_clip) through = 0;
      d[0] += through * y[2 * U];
      d[1] += through * s.c_before[u];
      d[2] += through * y[0];
      if (l_.coupled) d[1] -= d[0], d[0] = 0;
      for (int k = 0; k < 3; ++k) dz[k * U + u] = d[k] * slope_of_gate(k, z[k * U]);
      dc[u] = times(kept_c, dc[u]) + through * y[U];
      if (l_.peephole) dc[u] += dz[u] * peephole(0, u) + dz[U + u] * peephole(1, u);

      sums.peephole[u] += dz[u] * s.c_before[u];
      sums.peephole[U + u] += dz[U + u] * s.c_before[u];
      sums.peephole[2 * U + u] += dz[3 * U + u] * s.made[u];
    }
    const bool joint = l_.layer_norm == CONVEYOR_JOINT;
    const Doubles dz_h = gates_back(dz, s.h_normal, s.h_inverse, joint, sums);
    const Doubles dz_x = joint ? gates_back(dz, s.x_normal, s.x_inverse, 0, sums) : dz_h;
    for (int64_t col = 0; col < P4; ++col) {
      const int k = static_cast<int>(col / U);
      sums.bias[col] += dz[col];
      for (int64_t f = 0; f < F; ++f) {
        const double back = dz_x[col] * load<Real>(l_.kernel, f * P4 + col);
        sums.kernel[f * P4 + col] += x(b, t, f) * drop(k, b, f) * dz_x[col];
        dx[f] += back * drop(k, b, f);
        if (l_.dropout_masks)
          sums.dropout[mask_at(l_.dropout_masks, k, b, f, F)] += back * x(b, t, f);
      }
      for (int64_t n = 0; n < H; ++n) {
        const double back = dz_h[col] * load<Real>(l_.recurrent_kernel, n * P4 + col);
        sums.recurrent[n * P4 + col] += s.h_before[n] * recurrent_drop(k, b, n) * dz_h[col];
        dh_before[n] += back * recurrent_drop(k, b, n);
        if (l_.recurrent_dropout_masks)
          sums.recurrent_dropout[mask_at(l_.recurrent_dropout_masks, k, b, n, H)] +=
              back * s.h_before[n];
      }
    }
    dh = dh_before;
  }

  int gate(int k) const { return k == CONVEYOR_CANDIDATE ? CONVEYOR_PHI : CONVEYOR_SIGMA; }
  int kind(int function) const {
    return function == CONVEYOR_PHI     ? l_.activation
           : function == CONVEYOR_SIGMA ? l_.recurrent_activation
                                        : l_.output_activation;
  }
  double value(int function, double z) const {
    return activate<double>(kind(function), l_.alpha[function], l_.beta[function], z);
  }
  double slope_of(int function, double z) const {
    return slope(kind(function), l_.alpha[function], l_.beta[function], z);
  }
  double slope_of_gate(int k, double z) const {
    if (l_.clip > 0 && std::fabs(z) > l_.clip) return 0;
    return slope_of(gate(k), z);
  }
  static double clipped(double z, double bound) {
    return bound > 0 && z > bound ? bound : bound > 0 && z < -bound ? -bound : z;
  }
  double peephole(int k, int64_t u) const { return load<Real>(l_.peephole, k * U + u); }
  // Nothing of infinity is nothing.
  static double times(double part, double value) { return part == 0 ? 0 : part * value; }
  double part(const uint8_t* keeps, double expected, int64_t b, int64_t t, int64_t n,
              int64_t width) const {
    return keeps ? (keeps[(b * T + time(t)) * width + n] ? 1 : 0) : expected;
  }
  int64_t time(int64_t t) const { return l_.go_backwards ? T - 1 - t : t; }
  bool mask(int64_t b, int64_t t) const { return !l_.mask || l_.mask[b * T + time(t)]; }
  int reset(int64_t b, int64_t t) const { return l_.resets ? l_.resets[b * T + time(t)] : 0; }
  // Of what is before the first step: that, or zero.
  double start(int64_t b, int64_t t, double value) const {
    return reset(b, t) == CONVEYOR_AT_THE_START ? value : 0;
  }
  double x(int64_t b, int64_t t, int64_t f) const {
    return load<Real>(l_.x, (b * T + time(t)) * F + f);
  }
  double h0(int64_t b, int64_t n) const {
    return l_.hidden_state ? load<Real>(l_.hidden_state, b * H + n) : 0;
  }
  double c0(int64_t b, int64_t u) const {
    return l_.cell_state ? load<State>(l_.cell_state, b * U + u) : 0;
  }
  int64_t mask_at(int masks, int k, int64_t b, int64_t n, int64_t width) const {
    return ((masks == 4 ? k * B : 0) + b) * width + n;
  }
  double drop(int k, int64_t b, int64_t f) const {
    return l_.dropout_masks ? load<Real>(l_.dropout_mask, mask_at(l_.dropout_masks, k, b, f, F)) : 1;
  }
  double recurrent_drop(int k, int64_t b, int64_t u) const {
    return l_.recurrent_dropout_masks
               ? load<Real>(l_.recurrent_dropout_mask,
                            mask_at(l_.recurrent_dropout_masks, k, b, u, H))
               : 1;
  }
  static void put(const conveyor_lstm_outputs& out, int state, int64_t at, double value) {
    if (out.states[state]) store(static_cast<Real*>(out.states[state]) + at, value);
  }
  static double get(const conveyor_lstm_gradients& g, int state, int64_t at) {
    return g.d_states[state] ? load<Real>(g.d_states[state], at) : 0;
  }
  static void write(void* to, const Doubles& values) {
    if (!to) return;
    for (size_t n = 0; n < values.size(); ++n) store(static_cast<Real*>(to) + n, values[n]);
  }

  const conveyor_lstm& l_;
  const int64_t B, T, F, U, H;
};

}  // namespace conveyor::reference
