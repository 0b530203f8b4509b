// The forward pass: rows of the batch. Weights and states at the start, what the tiles of a step
// read, masked steps, and the last states.
#pragma once

#include <cstring>

#include "kernels/forward.h"
#include "kernels/pack.h"
#include "kernels/tile.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// Packs weights and copies states, each member a part.
template <class V, class Real, class State>
inline void Forward<V, Real, State>::prepare(Team& team, int member) {
  const auto* kernel = static_cast<const Real*>(l_.kernel);
  const auto* recurrent = static_cast<const Real*>(l_.recurrent_kernel);
  const Range panels = share(s_.P, team.size(), member);
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    pack_panel<V>(kernel, s_.F, s_.U, p, kernel_ + p * f_ * 4 * L);
    pack_panel<V>(recurrent, s_.H, s_.U, p, recurrent_ + p * u_ * 4 * L);
    // A normalisation comes before the bias.
    pack_vectors<V, 4>(static_cast<const Real*>(l_.layer_norm ? nullptr : l_.bias), s_.U, p,
                       bias_ + p * 4 * L);
    if (peephole_)
      pack_vectors<V, 3>(static_cast<const Real*>(l_.peephole), s_.U, p, peephole_ + p * 3 * L);
  }
  const Range rows = share(s_.B, team.size(), member);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    std::memset(h_[0] + b * row_, 0, row_ * sizeof(A));
    std::memset(h_[1] + b * row_, 0, row_ * sizeof(A));
    for (int64_t u = 0; l_.hidden_state && u < s_.H; ++u)
      Read::set(h_[0] + b * row_, u,
                 load_one(static_cast<const Real*>(l_.hidden_state) + b * s_.H + u));
    for (int64_t u = 0; u < s_.padded; ++u)
      *cell(u / L, b, u % L) =
          l_.cell_state && u < s_.U
              ? static_cast<T>(load_one(static_cast<const State*>(l_.cell_state) + b * s_.U + u))
              : T(0);
  }
}

// The part of the rows that step t computes, as a range of its list.
template <class V, class Real, class State>
inline Range Forward<V, Real, State>::active_rows(int64_t t, Range rows) const {
  if (!steps_.masked()) return rows;
  const int64_t n = steps_.count(t);
  int64_t begin = 0;
  while (begin < n && steps_.row(t, begin) < rows.begin) ++begin;
  int64_t end = begin;
  while (end < n && steps_.row(t, end) < rows.end) ++end;
  return {begin, end};
}

// Rows of x as the product reads them: converted, and with dropout.
template <class V, class Real, class State>
inline void Forward<V, Real, State>::stage(int64_t t, Range active, int64_t t0) {
  for (int64_t n = active.begin; n < active.end; ++n) {
    const int64_t b = steps_.row(t, n);
    const Real* from = static_cast<const Real*>(l_.x) + (b * s_.T + steps_.time(t)) * s_.F;
    A* to = x_ + ((t - t0) * s_.B + b) * x_staged_ * x_gates_;
    apply_masks(from, static_cast<const Real*>(l_.dropout_mask), l_.dropout_masks, b, s_.F, to,
                x_staged_);
  }
}

template <class V, class Real, class State>
template <class From>
inline void Forward<V, Real, State>::apply_masks(const From* from, const Real* masks, int count,
                                                 int64_t b, int64_t width, A* to,
                                                 int64_t apart) const {
  for (int64_t k = 0; k < width; k += L) {
    const int n = static_cast<int>(std::min<int64_t>(L, width - k));
    const reg value = V::template Io<From>::load(from + k, n);
    if (!count) Read::store(to, k, value);
    for (int g = 0; g < count; ++g)
      Read::store(to + g * apart, k,
                  V::mul(value, Io::load(masks + (g * s_.B + b) * width + k, n)));
  }
}

template <class V, class Real, class State>
inline void Forward<V, Real, State>::drop_hidden(int64_t t, Range active, const uint8_t* parity) {
  for (int64_t n = active.begin; n < active.end; ++n) {
    const int64_t b = steps_.row(t, n);
    apply_masks(Read::elements(h_[parity[b]] + b * row_),
                static_cast<const Real*>(l_.recurrent_dropout_mask), l_.recurrent_dropout_masks,
                b, s_.H, dropped_ + b * h_staged_ * h_gates_, h_staged_);
  }
}

// x W + b for the steps from t on, by tiles of rows of several steps.
template <class V, class Real, class State>
inline void Forward<V, Real, State>::project(Team& team, int member, int64_t t0, Range rows,
                                             Range panels, Block* blocks, bool by_rows,
                                             int64_t& round) {
  const int64_t end = std::min(s_.T, t0 + ahead_);
  int64_t n = 0, filled = 0;
  for (int64_t t = t0; t < end; ++t) {
    const Range active = active_rows(t, rows);
    if (stage_x_) stage(t, by_rows ? active : share_of(active, team, member), t0);
    for (int64_t k = active.begin; k < active.end; ++k) {
      const int64_t b = steps_.row(t, k);
      Block& block = blocks[n];
      block.x[filled] = x_row(t, b, t0);
      block.z[filled] = z_row(t, b);
      block.rows = static_cast<int>(++filled);
      if (filled == M) ++n, filled = 0;
    }
  }
  if (filled) ++n;
  if (stage_x_ && !by_rows) stop_.meet(team, member, round);
  const bool takes_long = n * s_.F > kLong;
  for (int64_t p = panels.begin; p < panels.end && !(takes_long && stop_.skip(member)); ++p)
    for (int64_t k = 0; k < n; ++k)
      with_rows<M>(blocks[k].rows,
                   [&](auto m) { project_tile<decltype(m)::count>(blocks[k], p); });
}

// Tiles of nearly equal height: 32 rows are 6 6 5 5 5 5, not 6 6 6 6 6 2.
template <class V, class Real, class State>
inline int64_t Forward<V, Real, State>::make_blocks(int64_t t, Range active, const uint8_t* parity,
                                                    Block* blocks) const {
  const int64_t n = (active.size() + M - 1) / M;
  for (int64_t k = 0; k < n; ++k) {
    const Range part = share(active.size(), n, k);
    Block& block = blocks[k];
    block.rows = static_cast<int>(part.size());
    for (int64_t r = 0; r < part.size(); ++r) {
      const int64_t b = steps_.row(t, active.begin + part.begin + r);
      block.b[r] = b;
      block.h[r] = dropped_ ? dropped_ + b * h_staged_ * h_gates_ : h_[parity[b]] + b * row_;
      block.h_before[r] = h_[parity[b]] + b * row_;
      block.h_after[r] = h_[parity[b] ^ 1] + b * row_;
      if (ahead_)
        block.z[r] = z_row(t, b);
      else
        block.x[r] = x_row(t, b, t);
    }
  }
  return n;
}

// A masked step repeats both states, and its gates are zero.
template <class V, class Real, class State>
inline void Forward<V, Real, State>::repeat(int64_t t, Range rows, Range panels,
                                            const uint8_t* parity) {
  Range active = active_rows(t, rows);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    if (active.begin < active.end && steps_.row(t, active.begin) == b) {
      ++active.begin;
      continue;
    }
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const int n = lanes(p);
      const reg h = Read::load(h_[parity[b]] + b * row_, p * L), c = V::load(cell(p, b));
      const int64_t to = at(b, t, p);
      if (out_.states[CONVEYOR_HIDDEN_STATES]) Io::store(real(CONVEYOR_HIDDEN_STATES) + to, h, n);
      if (out_.states[CONVEYOR_CELL_STATES]) Io::store(real(CONVEYOR_CELL_STATES) + to, c, n);
      for (int g = CONVEYOR_INPUT_GATES; g <= CONVEYOR_OUTPUT_GATES; ++g)
        if (out_.states[g]) Io::store(real(g) + to, V::zero(), n);
      if (cells_) V::template Io<State>::store(cells_ + reserved(b, t, p), c, L);
    }
  }
}

// The states of rows that begin anew at step t.
template <class V, class Real, class State>
inline void Forward<V, Real, State>::restart(int64_t t, Range rows, Range panels,
                                             const uint8_t* parity) {
  const auto* h0 = static_cast<const Real*>(l_.hidden_state);
  const auto* c0 = static_cast<const State*>(l_.cell_state);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    const int reset = steps_.reset(b, t);
    if (reset == CONVEYOR_GO_ON) continue;
    const bool at_start = reset == CONVEYOR_AT_THE_START;
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const int64_t from = b * s_.U + p * L;
      Read::store(h_[parity[b]] + b * row_, p * L,
                  at_start && h0 ? Io::load(h0 + from, lanes(p)) : V::zero());
      V::store(cell(p, b), at_start && c0 ? V::template Io<State>::load(c0 + from, lanes(p))
                                          : V::zero());
    }
  }
}

template <class V, class Real, class State>
inline void Forward<V, Real, State>::finish(Range rows, Range panels, const uint8_t* parity) {
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const int n = lanes(p);
      const int64_t to = b * s_.U + p * L;
      if (out_.states[CONVEYOR_HIDDEN_STATE])
        Io::store(real(CONVEYOR_HIDDEN_STATE) + to,
                  Read::load(h_[parity[b]] + b * row_, p * L), n);
      if (out_.states[CONVEYOR_CELL_STATE])
        Io::store(real(CONVEYOR_CELL_STATE) + to, V::load(cell(p, b)), n);
    }
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
