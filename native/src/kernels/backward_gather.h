// The backward pass: what is read. Weights are packed and the last states' gradients copied at the
// start; [x h' 1], and dz where it goes by pairs, are gathered after each chunk's steps.
#pragma once

#include <cstring>

#include "kernels/backward.h"
#include "kernels/pack.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
inline void Backward<V, Real, State>::prepare(Team& team, int member, Local local) {
  const auto* recurrent = static_cast<const Real*>(l_.recurrent_kernel);
  const auto* kernel = static_cast<const Real*>(l_.kernel);
  const Range panels = share(s_.P, team.size(), member);
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    for (int64_t n = 0; n < tiles_; ++n)
      pack_transposed<V>(recurrent, s_.H, s_.U, n * N * L, N, p,
                         recurrent_ + n * read_width_ * N * L);
    for (int64_t n = 0; wants_x_ && n < x_tiles_; ++n)
      pack_transposed<V>(kernel, s_.F, s_.U, n * N * L, N, p, kernel_ + n * read_width_ * N * L);
  }
  const Range rows = share(s_.B, team.size(), member);
  const auto* dh = static_cast<const Real*>(g_.d_states[CONVEYOR_HIDDEN_STATE]);
  const auto* dc = static_cast<const Real*>(g_.d_states[CONVEYOR_CELL_STATE]);
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    for (int64_t p = 0; p < s_.HP; ++p)
      V::store(dh_ + (p * s_.B + b) * L,
               dh ? Io::load(dh + b * s_.H + p * L, hidden_lanes(p)) : V::zero());
    for (int64_t p = 0; p < s_.P; ++p)
      V::store(dc_ + (p * s_.B + b) * L,
               dc ? Io::load(dc + b * s_.U + p * L, lanes(p)) : V::zero());
  }
  std::memset(local.parity, 0, s_.B);
  std::memset(local.pending, dh ? kHolds : 0, s_.B);
}

// Rows of [x h' 1] for the chunk, each member a part; as the gates from `first_gate` on have them.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::gather(int64_t begin, int64_t end, int first_gate, Team& team,
                                              int member) {
  for (int64_t t = end - 1; t >= begin; --t) {
    const Range part = share(steps_.count(t), team.size(), member);
    const int64_t first = chunk_row(t, end);
    for (int64_t k = part.begin; k < part.end; ++k) {
      const int64_t b = steps_.row(t, k);
      // Rows lie in a page each, and no processor foresees that.
      if (k + kAhead < part.end) prefetch_row(steps_.row(t, k + kAhead), t);
      for (int n = 0; n < gates_at_once_; ++n) gather_row(b, t, first_gate + n, n, first + k);
    }
  }
  const int64_t rows = steps_.before(end) - steps_.before(begin);
  if (rows % kPair && member == 0)
    for (int n = 0; n < gates_at_once_; ++n)
      for (int64_t k = 0; k < input_row_; k += L) put_input(n, rows, k, V::zero(), L);
}

template <class V, class Real, class State>
inline void Backward<V, Real, State>::prefetch_row(int64_t b, int64_t t) const {
  constexpr int64_t kLine = 64 / sizeof(Real);
  const Real* x = static_cast<const Real*>(l_.x) + (b * s_.T + steps_.time(t)) * s_.F;
  for (int64_t k = 0; k < std::min(s_.F, 16 * kLine); k += kLine) V::prefetch(x + k);
  if (t == 0) return;
  const Real* h = static_cast<const Real*>(g_.hidden_states) + (b * s_.T + t - 1) * s_.H;
  for (int64_t k = 0; k < std::min(s_.H, 16 * kLine); k += kLine) V::prefetch(h + k);
}

// `lanes` inputs of a row of the chunk from the k-th on, of the n-th of the gates at once.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::put_input(int n, int64_t row, int64_t k, reg value,
                                                int lanes) {
  A* to = input_ + (n * paired_rows() + row / kPair) * input_row_ + k;
  if constexpr (kPair == 1)
    V::store_n(to, value, lanes);
  else
    V::store_half(to, value, row % kPair, lanes);
}

// dz as pairs of rows of the chunk.
template <class V, class Real, class State>
inline void Backward<V, Real, State>::pair_rows(int64_t rows, Range panels) {
  if constexpr (kPair > 1) {
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      for (int64_t r = 0; r < rows; r += 2) {
        const A* from = dz_ + (p * chunk_rows_ + r) * kDz;
        A* to = products_ + (p * paired_rows() + r / 2) * 4 * L;
        for (int g = 0; g < 4; ++g)
          V::pair_up(to + g * L, from + g * L / 2, r + 1 < rows ? from + kDz + g * L / 2 : nullptr);
      }
    }
  }
}

template <class V, class Real, class State>
inline void Backward<V, Real, State>::gather_row(int64_t b, int64_t t, int g, int n, int64_t row) {
  const Real* x = static_cast<const Real*>(l_.x) + (b * s_.T + steps_.time(t)) * s_.F;
  const Real* h = hidden_before(b, t);
  // What the gate before read in the same place, where that has one mask for all.
  const bool again = n < g;
  if (!again || l_.dropout_masks == 4)
    copy_row(x, s_.F, static_cast<const Real*>(l_.dropout_mask), l_.dropout_masks, b, g, n, row, 0);
  if (!again || l_.recurrent_dropout_masks == 4)
    copy_row(h, s_.H, static_cast<const Real*>(l_.recurrent_dropout_mask),
             l_.recurrent_dropout_masks, b, g, n, row, s_.F);
  if (again) return;
  const int64_t end = input_row_ - more_inputs_;
  for (int64_t k = s_.F + s_.H; k < end; k += L)
    put_input(n, row, k, k == s_.F + s_.H ? V::first(V::set1(1), 1) : V::zero(),
              static_cast<int>(std::min<int64_t>(L, end - k)));
}

template <class V, class Real, class State>
inline void Backward<V, Real, State>::copy_row(const Real* from, int64_t width, const Real* masks,
                                               int count, int64_t b, int g, int place,
                                               int64_t row, int64_t first) {
  if (count) masks += ((count == 4 ? g * s_.B : 0) + b) * width;
  for (int64_t k = 0; k < width; k += L) {
    const int n = static_cast<int>(std::min<int64_t>(L, width - k));
    reg value = from ? Io::load(from + k, n) : V::zero();
    if (count) value = V::mul(value, Io::load(masks + k, n));
    put_input(place, row, first + k, value, n);
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
