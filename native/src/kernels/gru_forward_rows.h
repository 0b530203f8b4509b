// The GRU's forward pass: rows of the batch. What tiles read, masked steps, and the last state.
#pragma once

#include "kernels/gru_forward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// Packs weights and copies states, each member a part.
template <class V, class Real>
inline void GruForward<V, Real>::prepare(Team& team, int member) {
  const auto* kernel = static_cast<const Real*>(g_.kernel);
  const auto* recurrent = static_cast<const Real*>(g_.recurrent_kernel);
  const auto* bias = static_cast<const Real*>(g_.bias);
  const Range panels = share(s_.P, team.size(), member);
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    pack_gates<V>(kernel, s_.F, s_.U, p, 0, 3, 3 * L, kernel_ + p * s_.F * 3 * L);
    pack_gates<V>(recurrent, s_.U, s_.U, p, 0, gates_, gates_ * L,
                  recurrent_ + p * s_.U * gates_ * L);
    const int n = lanes(p);
    for (int g = 0; g < 3; ++g) {
      reg b = bias ? Io::load(bias + g * s_.U + p * L, n) : V::zero();
      // Those of both update and both reset gates are added up once.
      if (bias && after_ && g < 2) b = V::add(b, Io::load(bias + (3 + g) * s_.U + p * L, n));
      V::store(bias_ + (p * 3 + g) * L, b);
    }
    V::store(state_bias_ + p * L,
             bias && after_ ? Io::load(bias + 5 * s_.U + p * L, n) : V::zero());
  }
  const Range tiles = share(after_ ? 0 : tiles_, team.size(), member);
  for (int64_t n = tiles.begin; n < tiles.end; ++n) {
    T* to = candidate_ + n * s_.U * N * L;
    std::fill(to, to + s_.U * N * L, T(0));
    for (int64_t p = n * N; p < std::min(s_.P, (n + 1) * N); ++p)
      pack_gates<V>(recurrent, s_.U, s_.U, p, 2, 1, N * L, to + (p - n * N) * L);
  }
  const Range rows = share(s_.B, team.size(), member);
  const auto* h0 = static_cast<const Real*>(g_.hidden_state);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    for (auto& h : h_) std::fill(h + b * row_, h + (b + 1) * row_, T(0));
    for (int64_t u = 0; h0 && u < s_.U; ++u)
      h_[0][b * row_ + u] = static_cast<T>(load_one(h0 + b * s_.U + u));
    if (reset_) std::fill(reset_ + b * row_, reset_ + (b + 1) * row_, T(0));
  }
}

// The state of rows that begin anew at step t.
template <class V, class Real>
inline void GruForward<V, Real>::restart(int64_t t, Range rows, Range panels,
                                         const uint8_t* parity) {
  const auto* h0 = static_cast<const Real*>(g_.hidden_state);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    const int reset = steps_.reset(b, t);
    if (reset == CONVEYOR_GO_ON) continue;
    const bool at_start = reset == CONVEYOR_AT_THE_START && h0;
    for (int64_t p = panels.begin; p < panels.end; ++p)
      V::store(before(b, parity) + p * L,
               at_start ? Io::load(h0 + b * s_.U + p * L, lanes(p)) : V::zero());
  }
}

// x W + b for the steps from t0 on, by tiles of rows of several steps.
template <class V, class Real>
inline void GruForward<V, Real>::project(Team& team, int member, int64_t t0, Range rows,
                                         Range panels, Block* blocks, bool by_rows) {
  const auto* x = static_cast<const Real*>(g_.x);
  const auto* masks = static_cast<const Real*>(g_.dropout_mask);
  const int64_t end = std::min(s_.T, t0 + ahead_);
  int64_t n = 0, filled = 0;
  for (int64_t t = t0; t < end; ++t) {
    const Range active = active_rows(steps_, t, rows);
    const Range mine = by_rows ? active : share_of(active, team, member);
    for (int64_t k = active.begin; k < active.end; ++k) {
      const int64_t b = steps_.row(t, k);
      const Real* from = x + (b * s_.T + steps_.time(t)) * s_.F;
      Block& block = blocks[n];
      if (stage_x_) {
        T* to = x_ + ((t - t0) * s_.B + b) * s_.F * x_gates_;
        block.in[filled] = to;
        for (int g = 0; g < x_gates_ && k >= mine.begin && k < mine.end; ++g)
          for (int64_t f = 0; f < s_.F; ++f) {
            const T factor =
                masks ? static_cast<T>(load_one(masks + (g * s_.B + b) * s_.F + f)) : T(1);
            to[g * s_.F + f] = static_cast<T>(load_one(from + f)) * factor;
          }
      } else {
        block.in[filled] = reinterpret_cast<const T*>(from);
      }
      block.z[filled] = z_row(t, b);
      block.rows = static_cast<int>(++filled);
      if (filled == M) ++n, filled = 0;
    }
  }
  if (filled) ++n;
  if (stage_x_ && !by_rows) team.barrier();
  const bool takes_long = n * s_.F > kLong;
  for (int64_t p = panels.begin; p < panels.end && !(takes_long && stop_.skip(member)); ++p)
    for (int64_t k = 0; k < n; ++k)
      with_rows<M>(blocks[k].rows,
                   [&](auto m) { project_tile<decltype(m)::count>(blocks[k], p); });
}

template <class V, class Real>
inline void GruForward<V, Real>::drop_hidden(int64_t t, Range active, const uint8_t* parity) {
  const auto* masks = static_cast<const Real*>(g_.recurrent_dropout_mask);
  for (int64_t n = active.begin; n < active.end; ++n) {
    const int64_t b = steps_.row(t, n);
    for (int g = 0; g < h_gates_; ++g)
      for (int64_t u = 0; u < s_.U; ++u)
        dropped_[(b * h_gates_ + g) * row_ + u] =
            before(b, parity)[u] * static_cast<T>(load_one(masks + (g * s_.B + b) * s_.U + u));
  }
}

// Tiles of nearly equal height: 9 rows are 5 4, not 8 1.
template <class V, class Real>
inline int64_t GruForward<V, Real>::make_blocks(int64_t t, Range active, const uint8_t* parity,
                                                Block* blocks) const {
  const int64_t n = (active.size() + M - 1) / M;
  for (int64_t k = 0; k < n; ++k) {
    const Range part = share(active.size(), n, k);
    Block& block = blocks[k];
    block.rows = static_cast<int>(part.size());
    for (int64_t r = 0; r < part.size(); ++r) {
      const int64_t b = steps_.row(t, active.begin + part.begin + r);
      block.b[r] = b;
      block.in[r] = dropped_ ? dropped_ + b * h_gates_ * row_ : before(b, parity);
      block.z[r] = z_row(t, b);
    }
  }
  return n;
}

// A masked step repeats the state, and its gates are zero.
template <class V, class Real>
inline void GruForward<V, Real>::repeat(int64_t t, Range rows, Range panels,
                                        const uint8_t* parity) {
  Range active = active_rows(steps_, t, rows);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    if (active.begin < active.end && steps_.row(t, active.begin) == b) {
      ++active.begin;
      continue;
    }
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const int n = lanes(p);
      if (Real* hs = real(CONVEYOR_GRU_HIDDEN_STATES))
        Io::store(hs + at(b, t, p), V::load(before(b, parity) + p * L), n);
      for (int g = CONVEYOR_GRU_UPDATE_GATES; g <= CONVEYOR_GRU_CANDIDATES; ++g)
        if (real(g)) Io::store(real(g) + at(b, t, p), V::zero(), n);
    }
  }
}

template <class V, class Real>
inline void GruForward<V, Real>::finish(Range rows, Range panels, const uint8_t* parity) {
  Real* to = real(CONVEYOR_GRU_HIDDEN_STATE);
  for (int64_t b = rows.begin; to && b < rows.end; ++b)
    for (int64_t p = panels.begin; p < panels.end; ++p)
      Io::store(to + b * s_.U + p * L, V::load(before(b, parity) + p * L), lanes(p));
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
