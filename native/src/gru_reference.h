// A GRU to read, in double: the judge of the kernels, slow and plain. The backward pass reads
// nothing that the forward pass kept; it computes all again.
#pragma once

#include <vector>

#include "conveyor/gru.h"
#include "reference.h"

namespace conveyor::reference {

template <class Real>
class Gru {
 public:
  explicit Gru(const conveyor_gru& g)
      : g_(g), B(g.batch), T(g.time_steps), F(g.features), U(g.units) {}

  void forward(const conveyor_gru_outputs& out) const {
    for (int64_t b = 0; b < B; ++b) {
      const auto steps = run(b);
      for (int64_t t = 0; t < T; ++t)
        for (int64_t u = 0; u < U; ++u) {
          const int64_t at = (b * T + t) * U + u;
          put(out, CONVEYOR_GRU_HIDDEN_STATES, at, steps[t].h[u]);
          for (int k = 0; k < 3; ++k)
            put(out, CONVEYOR_GRU_UPDATE_GATES + k, at, counts(b, t) ? steps[t].y[k][u] : 0);
        }
      for (int64_t u = 0; u < U; ++u)
        put(out, CONVEYOR_GRU_HIDDEN_STATE, b * U + u, T ? steps[T - 1].h[u] : h0(b, u));
    }
  }

  void backward(const conveyor_gru_gradients& d) const {
    Doubles dw(F * 3 * U), dr(U * 3 * U), db(6 * U), dx(B * T * F), dh0(B * U),
        dd(g_.dropout_masks * B * F), drd(g_.recurrent_dropout_masks * B * U);
    for (int64_t b = 0; b < B; ++b) {
      const auto steps = run(b);
      Doubles dh(U);
      for (int64_t u = 0; u < U; ++u) dh[u] = get(d, CONVEYOR_GRU_HIDDEN_STATE, b * U + u);
      for (int64_t t = T - 1; t >= 0; --t) {
        const int64_t at = (b * T + t) * U;
        for (int64_t u = 0; u < U; ++u) dh[u] += get(d, CONVEYOR_GRU_HIDDEN_STATES, at + u);
        if (counts(b, t)) {
          const Step& s = steps[t];
          Doubles back(U);  // at h'
          // At the inputs of the gates, and of h' R: their last third is that of the candidates.
          Doubles of_x(3 * U), of_h(3 * U), of_reset(U);
          for (int64_t u = 0; u < U; ++u) {
            const double z = s.y[0][u], g = s.y[2][u];
            of_x[u] = (dh[u] * (s.before[u] - g) + get(d, CONVEYOR_GRU_UPDATE_GATES, at + u)) *
                      slope_of(CONVEYOR_SIGMA, s.z[0][u]);
            of_x[2 * U + u] = (dh[u] * (1 - z) + get(d, CONVEYOR_GRU_CANDIDATES, at + u)) *
                              slope_of(CONVEYOR_PHI, s.z[2][u]);
            back[u] = dh[u] * z;
            of_reset[u] = get(d, CONVEYOR_GRU_RESET_GATES, at + u);
          }
          for (int64_t u = 0; u < U; ++u) {
            of_h[2 * U + u] = of_x[2 * U + u];
            if (!g_.reset_after) continue;
            of_h[2 * U + u] *= s.y[1][u];
            of_reset[u] += of_x[2 * U + u] * s.of_state[u];
          }
          // r * h' or h' is what candidates read.
          for (int64_t v = 0; v < U; ++v) {
            double arrived = 0;
            for (int64_t u = 0; u < U; ++u) arrived += of_h[2 * U + u] * r(v, 2 * U + u);
            const double drop = recurrent_drop(2, b, v);
            const double factor = g_.reset_after ? 1 : s.y[1][v];
            const double read = factor * s.before[v];
            if (!drd.empty()) drd[mask_at(g_.recurrent_dropout_masks, 2, b, v, U)] += arrived * read;
            back[v] += arrived * drop * factor;
            if (!g_.reset_after) of_reset[v] += arrived * drop * s.before[v];
            for (int64_t u = 0; u < U; ++u)
              dr[v * 3 * U + 2 * U + u] += read * drop * of_h[2 * U + u];
          }
          for (int64_t u = 0; u < U; ++u) {
            of_x[U + u] = of_reset[u] * slope_of(CONVEYOR_SIGMA, s.z[1][u]);
            of_h[u] = of_x[u], of_h[U + u] = of_x[U + u];
          }
          for (int64_t col = 0; col < 3 * U; ++col) {
            const int k = static_cast<int>(col / U);
            db[col] += of_x[col];
            db[3 * U + col] += of_h[col];
            for (int64_t f = 0; f < F; ++f) {
              const double arrived = of_x[col] * w(f, col);
              dw[f * 3 * U + col] += x(b, t, f) * drop(k, b, f) * of_x[col];
              dx[(b * T + time(t)) * F + f] += arrived * drop(k, b, f);
              if (!dd.empty()) dd[mask_at(g_.dropout_masks, k, b, f, F)] += arrived * x(b, t, f);
            }
            for (int64_t v = 0; v < U && k < 2; ++v) {
              const double arrived = of_h[col] * r(v, col);
              dr[v * 3 * U + col] += s.before[v] * recurrent_drop(k, b, v) * of_h[col];
              back[v] += arrived * recurrent_drop(k, b, v);
              if (!drd.empty())
                drd[mask_at(g_.recurrent_dropout_masks, k, b, v, U)] += arrived * s.before[v];
            }
          }
          dh = back;
        }
        for (int64_t u = 0; u < U && reset(b, t); ++u) {
          if (reset(b, t) == CONVEYOR_AT_THE_START) dh0[b * U + u] += dh[u];
          dh[u] = 0;
        }
      }
      for (int64_t u = 0; u < U; ++u) dh0[b * U + u] += dh[u];
    }
    if (!g_.reset_after) db.resize(3 * U);
    write(d.d_x, dx);
    write(d.d_kernel, dw);
    write(d.d_recurrent_kernel, dr);
    write(d.d_bias, db);
    write(d.d_hidden_state, dh0);
    write(d.d_dropout_mask, dd);
    write(d.d_recurrent_dropout_mask, drd);
  }

 private:
  using Doubles = std::vector<double>;
  struct Step {
    Doubles before, z[3], y[3], of_state, h;  // update gates, reset gates, candidates: in and out
  };

  std::vector<Step> run(int64_t b) const {
    std::vector<Step> steps(T);
    Doubles h(U);
    for (int64_t u = 0; u < U; ++u) h[u] = h0(b, u);
    for (int64_t t = 0; t < T; ++t) {
      Step& s = steps[t];
      for (int64_t u = 0; u < U && reset(b, t); ++u)
        h[u] = reset(b, t) == CONVEYOR_AT_THE_START ? h0(b, u) : 0;
      s.before = s.h = h;
      if (!counts(b, t)) continue;
      for (int k = 0; k < 3; ++k) s.z[k].assign(U, 0), s.y[k].assign(U, 0);
      s.of_state.assign(U, 0);
      for (int k = 0; k < 3; ++k)
        for (int64_t u = 0; u < U; ++u) {
          const int64_t col = k * U + u;
          double of_x = g_.bias ? load<Real>(g_.bias, col) : 0;
          for (int64_t f = 0; f < F; ++f) of_x += x(b, t, f) * drop(k, b, f) * w(f, col);
          double of_h = g_.bias && g_.reset_after ? load<Real>(g_.bias, 3 * U + col) : 0;
          const bool inside = k == 2 && !g_.reset_after;
          for (int64_t v = 0; v < U; ++v)
            of_h += (inside ? s.y[1][v] : 1) * h[v] * recurrent_drop(k, b, v) * r(v, col);
          if (k == 2) s.of_state[u] = of_h;
          const double factor = k == 2 && g_.reset_after ? s.y[1][u] : 1;
          s.z[k][u] = of_x + factor * of_h;
          s.y[k][u] = value(k == 2 ? CONVEYOR_PHI : CONVEYOR_SIGMA, s.z[k][u]);
        }
      for (int64_t u = 0; u < U; ++u) h[u] = s.y[0][u] * h[u] + (1 - s.y[0][u]) * s.y[2][u];
      s.h = h;
    }
    return steps;
  }

  int kind(int function) const {
    return function == CONVEYOR_PHI ? g_.activation : g_.recurrent_activation;
  }
  double value(int function, double z) const {
    return activate<double>(kind(function), g_.alpha[function], g_.beta[function], z);
  }
  double slope_of(int function, double z) const {
    return slope(kind(function), g_.alpha[function], g_.beta[function], z);
  }
  int64_t time(int64_t t) const { return g_.go_backwards ? T - 1 - t : t; }
  bool counts(int64_t b, int64_t t) const { return !g_.mask || g_.mask[b * T + time(t)]; }
  int reset(int64_t b, int64_t t) const { return g_.resets ? g_.resets[b * T + time(t)] : 0; }
  double x(int64_t b, int64_t t, int64_t f) const {
    return load<Real>(g_.x, (b * T + time(t)) * F + f);
  }
  double w(int64_t f, int64_t col) const { return load<Real>(g_.kernel, f * 3 * U + col); }
  double r(int64_t v, int64_t col) const { return load<Real>(g_.recurrent_kernel, v * 3 * U + col); }
  double h0(int64_t b, int64_t u) const {
    return g_.hidden_state ? load<Real>(g_.hidden_state, b * U + u) : 0;
  }
  int64_t mask_at(int masks, int k, int64_t b, int64_t n, int64_t width) const {
    return ((masks == 3 ? k * B : 0) + b) * width + n;
  }
  double drop(int k, int64_t b, int64_t f) const {
    return g_.dropout_masks ? load<Real>(g_.dropout_mask, mask_at(g_.dropout_masks, k, b, f, F)) : 1;
  }
  double recurrent_drop(int k, int64_t b, int64_t u) const {
    return g_.recurrent_dropout_masks
               ? load<Real>(g_.recurrent_dropout_mask,
                            mask_at(g_.recurrent_dropout_masks, k, b, u, U))
               : 1;
  }
  static void put(const conveyor_gru_outputs& out, int state, int64_t at, double value) {
    if (out.states[state]) store(static_cast<Real*>(out.states[state]) + at, value);
  }
  static double get(const conveyor_gru_gradients& d, int state, int64_t at) {
    return d.d_states[state] ? load<Real>(d.d_states[state], at) : 0;
  }
  static void write(void* to, const Doubles& values) {
    if (!to) return;
    for (size_t n = 0; n < values.size(); ++n) store(static_cast<Real*>(to) + n, values[n]);
  }

  const conveyor_gru& g_;
  const int64_t B, T, F, U;
};

}  // namespace conveyor::reference
