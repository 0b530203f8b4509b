// An LSTM to read, in double: the judge of every kernel, slow and plain.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "conveyor/lstm.h"
#include "real.h"

namespace conveyor::reference {

inline double activate(int kind, double z) {
  switch (kind) {
    case CONVEYOR_TANH: return std::tanh(z);
    case CONVEYOR_SIGMOID: return 1 / (1 + std::exp(-z));
    case CONVEYOR_HARD_SIGMOID: return z <= -3 ? 0 : z >= 3 ? 1 : (z + 3) / 6;
    case CONVEYOR_RELU: return z <= 0 ? 0 : z;  // NaN stays NaN
    default: return z;
  }
}

// d activate / dz, from the value y = activate(z), which is what the forward pass keeps.
inline double slope(int kind, double y) {
  switch (kind) {
    case CONVEYOR_TANH: return 1 - y * y;
    case CONVEYOR_SIGMOID: return y * (1 - y);
    case CONVEYOR_HARD_SIGMOID: return y > 0 && y < 1 ? 1.0 / 6 : y * 0;
    case CONVEYOR_RELU: return y > 0 ? 1 : y * 0;
    default: return 1;
  }
}

// One request, read as doubles; `Real` and `State` are the types of the arrays.
template <class Real, class State>
class Lstm {
 public:
  explicit Lstm(const conveyor_lstm& l)
      : l_(l), B(l.batch), T(l.time_steps), F(l.features), U(l.units), P((U + 15) / 16 * 16) {}

  void forward(const conveyor_lstm_outputs& out) const {
    std::vector<double> h(U), c(U), z(4 * U);
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t u = 0; u < U; ++u) h[u] = h0(b, u), c[u] = c0(b, u);
      for (int64_t t = 0; t < T; ++t) {
        const bool counts = mask(b, t);
        for (int64_t u = 0; u < U && reset(b, t); ++u)
          h[u] = start(b, t, h0(b, u)), c[u] = start(b, t, c0(b, u));
        if (counts) {
          preactivate(b, t, h, z);
          for (int64_t u = 0; u < U; ++u) {
            for (int k = 0; k < 4; ++k) z[k * U + u] = activate(kind(k), z[k * U + u]);
            c[u] = z[U + u] * c[u] + z[u] * z[2 * U + u];
            h[u] = round_to<Real>(z[3 * U + u] * activate(l_.activation, c[u]));
          }
        }
        for (int64_t u = 0; u < U; ++u) {
          const int64_t at = (b * T + t) * U + u;
          put(out, CONVEYOR_HIDDEN_STATES, at, h[u]);
          put(out, CONVEYOR_CELL_STATES, at, c[u]);
          for (int k = 0; k < 4; ++k) {
            const double gate = counts ? z[k * U + u] : 0;
            put(out, CONVEYOR_INPUT_GATES + k, at, gate);
            if (out.reserve) store(gates(out.reserve) + gate_at(b, t, k, u), gate);
          }
          if (out.reserve) store(cells(out.reserve) + (t * B + b) * P + u, c[u]);
        }
      }
      for (int64_t u = 0; u < U; ++u) {
        put(out, CONVEYOR_HIDDEN_STATE, b * U + u, h[u]);
        put(out, CONVEYOR_CELL_STATE, b * U + u, c[u]);
      }
    }
  }

  void backward(const conveyor_lstm_gradients& g) const {
    std::vector<double> dw(F * 4 * U), dr(U * 4 * U), db(4 * U), dx(F), dh(U), dc(U), dz(4 * U),
        dd(l_.dropout_masks * B * F), drd(l_.recurrent_dropout_masks * B * U);
    for (int64_t b = 0; b < B; ++b) {
      std::vector<double> dh_start(U), dc_start(U);
      for (int64_t u = 0; u < U; ++u) {
        dh[u] = get(g, CONVEYOR_HIDDEN_STATE, b * U + u);
        dc[u] = get(g, CONVEYOR_CELL_STATE, b * U + u);
      }
      for (int64_t t = T - 1; t >= 0; --t) {
        for (int64_t u = 0; u < U; ++u) {
          dh[u] += get(g, CONVEYOR_HIDDEN_STATES, (b * T + t) * U + u);
          dc[u] += get(g, CONVEYOR_CELL_STATES, (b * T + t) * U + u);
        }
        std::fill(dx.begin(), dx.end(), 0);
        if (mask(b, t)) step_back(g, b, t, dh, dc, dz, dw, dr, db, dx, dd, drd);
        if (g.d_x) {
          for (int64_t f = 0; f < F; ++f)
            store(static_cast<Real*>(g.d_x) + (b * T + time(t)) * F + f, dx[f]);
        }
        for (int64_t u = 0; u < U && reset(b, t); ++u) {
          dh_start[u] += start(b, t, dh[u]);
          dc_start[u] += start(b, t, dc[u]);
          dh[u] = dc[u] = 0;
        }
      }
      for (int64_t u = 0; u < U; ++u) {
        const int64_t at = b * U + u;
        if (g.d_hidden_state) store(static_cast<Real*>(g.d_hidden_state) + at, dh[u] + dh_start[u]);
        if (g.d_cell_state) store(static_cast<State*>(g.d_cell_state) + at, dc[u] + dc_start[u]);
      }
    }
    write(g.d_kernel, dw);
    write(g.d_recurrent_kernel, dr);
    write(g.d_bias, db);
    write(g.d_dropout_mask, dd);
    write(g.d_recurrent_dropout_mask, drd);
  }

 private:
  using Doubles = std::vector<double>;

  void preactivate(int64_t b, int64_t t, const Doubles& h, Doubles& z) const {
    for (int k = 0; k < 4; ++k) {
      for (int64_t u = 0; u < U; ++u) {
        const int64_t col = k * U + u;
        double sum = l_.bias ? load<Real>(l_.bias, col) : 0;
        for (int64_t f = 0; f < F; ++f)
          sum += x(b, t, f) * drop(k, b, f) * load<Real>(l_.kernel, f * 4 * U + col);
        for (int64_t v = 0; v < U; ++v)
          sum += h[v] * recurrent_drop(k, b, v) * load<Real>(l_.recurrent_kernel, v * 4 * U + col);
        z[col] = sum;
      }
    }
  }

  void step_back(const conveyor_lstm_gradients& g, int64_t b, int64_t t, Doubles& dh, Doubles& dc,
                 Doubles& dz, Doubles& dw, Doubles& dr, Doubles& db, Doubles& dx, Doubles& dd,
                 Doubles& drd) const {
    const int64_t P4 = 4 * U;
    for (int64_t u = 0; u < U; ++u) {
      double y[4], arriving[4];
      for (int k = 0; k < 4; ++k) {
        y[k] = load<Real>(gates(g.reserve), gate_at(b, t, k, u));
        arriving[k] = get(g, CONVEYOR_INPUT_GATES + k, (b * T + t) * U + u);
      }
      const double c = load<State>(cells(g.reserve), (t * B + b) * P + u);
      const double before = reset(b, t) ? start(b, t, c0(b, u))
                            : t         ? load<State>(cells(g.reserve), ((t - 1) * B + b) * P + u)
                                        : c0(b, u);
      const double phi = activate(l_.activation, c);
      const double through = dc[u] + dh[u] * y[3] * slope(l_.activation, phi);
      const double dy[4] = {through * y[2], through * before, through * y[0], dh[u] * phi};
      for (int k = 0; k < 4; ++k) dz[k * U + u] = (dy[k] + arriving[k]) * slope(kind(k), y[k]);
      dc[u] = through * y[1];
      dh[u] = 0;
    }
    for (int64_t col = 0; col < P4; ++col) {
      const int k = static_cast<int>(col / U);
      db[col] += dz[col];
      for (int64_t f = 0; f < F; ++f) {
        const double back = dz[col] * load<Real>(l_.kernel, f * P4 + col);
        dw[f * P4 + col] += x(b, t, f) * drop(k, b, f) * dz[col];
        dx[f] += back * drop(k, b, f);
        if (!dd.empty()) dd[mask_at(l_.dropout_masks, k, b, f, F)] += back * x(b, t, f);
      }
      for (int64_t v = 0; v < U; ++v) {
        const double h = reset(b, t) ? start(b, t, h0(b, v))
                         : t         ? load<Real>(g.hidden_states, (b * T + t - 1) * U + v)
                                     : h0(b, v);
        const double back = dz[col] * load<Real>(l_.recurrent_kernel, v * P4 + col);
        dr[v * P4 + col] += h * recurrent_drop(k, b, v) * dz[col];
        dh[v] += back * recurrent_drop(k, b, v);
        if (!drd.empty()) drd[mask_at(l_.recurrent_dropout_masks, k, b, v, U)] += back * h;
      }
    }
  }

  int kind(int k) const {
    return k == CONVEYOR_CANDIDATE ? l_.activation : l_.recurrent_activation;
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
  double h0(int64_t b, int64_t u) const {
    return l_.hidden_state ? load<Real>(l_.hidden_state, b * U + u) : 0;
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
                            mask_at(l_.recurrent_dropout_masks, k, b, u, U))
               : 1;
  }
  // Of the reserve: Real gates [T,B,4,P], then State cell states [T,B,P].
  static Real* gates(const void* reserve) {
    return static_cast<Real*>(const_cast<void*>(reserve));
  }
  State* cells(const void* reserve) const {
    return reinterpret_cast<State*>(gates(reserve) + T * B * 4 * P);
  }
  int64_t gate_at(int64_t b, int64_t t, int k, int64_t u) const {
    return ((t * B + b) * 4 + k) * P + u;
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
  const int64_t B, T, F, U, P;
};

}  // namespace conveyor::reference
