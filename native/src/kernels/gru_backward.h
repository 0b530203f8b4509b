// The GRU's backward pass.
//
// Time goes backwards in chunks. Within one, step by step: the gradients at the inputs of the
// gates from what has arrived at h, then what arrives at h' by way of the recurrent kernel. After
// it the gradients of inputs and weights, as large products over all rows of the chunk.
//
// Below, dg, dz and dr are gradients at the inputs of candidate, update and reset gate, and ds that
// at h' R_g + b'_g, which with reset_after is dg * r. A row of a panel holds them in this order, so
// that x W is reached from the first three and h' R from the last three.
#pragma once

#include <cstring>

#include "kernels/gru_shape.h"
#include "kernels/tile.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real>
class GruBackward {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  using Io = typename V::template Io<Real>;
  static_assert(V::kPair == 1, "rows of this kernel are plain");
  static constexpr int L = V::L;
  static constexpr int M = V::kRows;
  static constexpr int N = V::kColumns;                  // vectors of a tile of dh and dx
  static constexpr int K = V::kRegisters > 16 ? 8 : 4;   // inputs of a tile of weights

  GruBackward(const conveyor_gru& g, const conveyor_gru_gradients& d)
      : g_(g), d_(d), l_(as_lstm(g)), s_(l_, L), functions_(l_), steps_(l_, memory_),
        stop_(g.interrupted) {}

  int run() {
    plan();
    const double work = 6.0 * s_.B * s_.T * (s_.F + s_.U) * s_.padded;
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(g_.threads, work);
    if (!splits_rows(threads))
      threads = threads_for_steps(threads, 3.0 * s_.B * s_.U * s_.padded);
    run_team(threads, task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

 private:
  // A row of a panel: dg, dz, dr, ds.
  enum { kG = 0, kZ = 1, kR = 2, kS = 3 };

  void plan() {
    after_ = g_.reset_after != 0;
    tiles_ = (s_.P + N - 1) / N;
    x_tiles_ = (s_.F + int64_t{N} * L - 1) / (int64_t{N} * L);
    wants_weights_ = d_.d_kernel || d_.d_recurrent_kernel || d_.d_bias;
    wants_x_ = d_.d_x || d_.d_dropout_mask;
    x_gates_ = g_.dropout_masks == 3 ? 3 : 1;
    h_gates_ = g_.recurrent_dropout_masks == 3 ? 3 : 1;
    planes_ = std::max(x_gates_, h_gates_);
    // x, h' and, where that is what candidates read, r * h'; a tile may read past it.
    input_row_ = s_.F + s_.U + (after_ ? 0 : s_.U) + K;
    const int64_t bytes = (4 * s_.padded + planes_ * input_row_) * int64_t{sizeof(T)};
    const int64_t rows = std::max<int64_t>(512, (int64_t{3} << 19) / bytes);
    chunk_ = std::max<int64_t>(1, std::min(s_.T, rows / std::max<int64_t>(1, s_.B)));
    chunk_rows_ = chunk_ * s_.B;

    const int64_t tile = s_.P * L * N * L;  // of one gate
    recurrent_ = memory_.take<T>(tiles_ * 3 * tile);
    if (wants_x_) kernel_ = memory_.take<T>(x_tiles_ * 3 * tile);
    dz_ = memory_.take<T>(s_.P * chunk_rows_ * 4 * L);
    dh_ = memory_.take<T>(s_.B * s_.padded);
    places_ = memory_.take<Place>(chunk_rows_);
    if (wants_weights_) {
      input_ = memory_.take<T>(planes_ * chunk_rows_ * input_row_);
      weights_ = zeros(s_.P * (s_.F + s_.U) * 3 * L);
      biases_ = zeros(s_.P * 4 * L);
    }
    if (steps_.resets_to_start()) dh_start_ = zeros(s_.B * s_.padded);
    if (d_.d_dropout_mask) d_dropout_ = zeros(g_.dropout_masks * s_.B * s_.F);
    if (d_.d_recurrent_dropout_mask)
      d_recurrent_ = zeros(g_.recurrent_dropout_masks * s_.B * s_.padded);
    if (d_.d_x) prefer_huge_pages(d_.d_x, s_.B * s_.T * s_.F * sizeof(Real));
  }

  T* zeros(int64_t n) {
    T* array = memory_.take<T>(n);
    std::fill(array, array + n, T(0));
    return array;
  }

  bool splits_rows(int threads) const {
    const bool small = 3 * s_.U * s_.padded * int64_t{sizeof(T)} <= (int64_t{1} << 19);
    return threads == 1 || (small && s_.B >= 2 * M * threads);
  }

  void work_on(Team& team, int member) {
    const bool by_rows = splits_rows(team.size());
    const Range rows = by_rows ? share(s_.B, team.size(), member) : Range{0, s_.B};
    const Range tiles = by_rows ? Range{0, tiles_} : share(tiles_, team.size(), member);
    int64_t round = 0;
    prepare(team, member);
    if (stop_.meet(team, member, round)) return;
    for (int64_t end = s_.T; end > 0; end -= chunk_) {
      const int64_t begin = std::max<int64_t>(0, end - chunk_);
      for (int64_t t = end - 1; t >= begin; --t) {
        step(t, end, rows, tiles, team, member, by_rows);
        if (steps_.resets(t)) restart(t, rows, tiles);
        if (by_rows ? stop_.alone(member, round) : stop_.meet(team, member, round)) break;
      }
      gather(begin, end, team, member);
      if (stop_.meet(team, member, round)) return;
      const int64_t count = steps_.before(end) - steps_.before(begin);
      if (wants_x_) input_gradient(count, team, member);
      if (wants_weights_) weight_gradient(count, team, member);
      if (stop_.meet(team, member, round)) return;
    }
    finish(rows, tiles);
    write_weights(team, member);
    team.barrier();
    if (member == 0) write_masks();
  }

  // A row of a chunk: its step and its row of the batch.
  struct Place {
    int64_t t, b;
  };
  struct Block {
    int rows;
    int64_t b[M], at[M];  // row of the batch, and of the chunk
  };
  template <class Run>
  void each_block(int64_t t, int64_t end, Range active, Run run) const {
    const int64_t n = (active.size() + M - 1) / M;
    for (int64_t k = 0; k < n; ++k) {
      const Range part = share(active.size(), n, k);
      Block block;
      block.rows = static_cast<int>(part.size());
      for (int64_t r = 0; r < part.size(); ++r) {
        const int64_t place = active.begin + part.begin + r;
        block.b[r] = steps_.row(t, place);
        block.at[r] = steps_.before(end) - steps_.before(t + 1) + place;
      }
      with_rows<M>(block.rows, [&](auto m) { run(m, block); });
    }
  }

  // In gru_backward_step.h.
  void step(int64_t t, int64_t end, Range rows, Range tiles, Team& team, int member, bool by_rows);
  void pass(int64_t t, Range rows, Range panels);
  void pointwise(int64_t b, int64_t t, int64_t at, int64_t p);
  template <int R>
  void through_reset(const Block& block, int64_t n, int64_t t);
  template <int R>
  void to_state(const Block& block, int64_t n, int64_t t);
  template <int R>
  void product(reg (&acc)[R][N], const Block& block, const T* w, int first, int count) const;
  reg dropped(reg d, reg read, int g, int64_t b, int64_t p);
  void restart(int64_t t, Range rows, Range tiles);
  void finish(Range rows, Range tiles);

  // In gru_backward_products.h.
  void prepare(Team& team, int member);
  void gather(int64_t begin, int64_t end, Team& team, int member);
  void gather_row(int64_t b, int64_t t, int64_t at);
  void input_gradient(int64_t count, Team& team, int member);
  template <int R>
  void input_tile(const int64_t row, int64_t n);
  void weight_gradient(int64_t count, Team& team, int member);
  void weights_of(const T* input, int64_t width, int64_t p, int first, int gates, int64_t to,
                  int64_t count);
  template <int R, int G>
  void weight_tile(const T* input, const T* dz, T* sums, int gate, int64_t count) const;
  void write_weights(const Team& team, int member);
  void write_masks();

  // h' of a row at step t, or null for zeros.
  const Real* hidden_before(int64_t b, int64_t t) const {
    const auto* h0 = static_cast<const Real*>(g_.hidden_state);
    const int reset = steps_.reset(b, t);
    if (reset == CONVEYOR_AT_ZERO) return nullptr;
    if (reset == CONVEYOR_AT_THE_START || t == 0) return h0 ? h0 + b * s_.U : nullptr;
    return static_cast<const Real*>(d_.hidden_states) + (b * s_.T + t - 1) * s_.U;
  }
  reg hidden(int64_t b, int64_t t, int64_t p) const {
    const Real* h = hidden_before(b, t);
    return h ? Io::load(h + p * L, lanes(p)) : V::zero();
  }
  reg kept(int which, int64_t b, int64_t t, int64_t p) const {
    const int64_t units = reserved_units(s_.U);
    return Io::load(static_cast<const Real*>(d_.reserve) +
                        ((t * s_.B + b) * 4 + which) * units + p * L, L);
  }
  // The reset gates of a step.
  reg reset_gates(int64_t b, int64_t t, int64_t p) const {
    return functions_.value(functions_.sigma, kept(kReset, b, t, p));
  }
  reg arriving(int state, int64_t b, int64_t t, int64_t p) const {
    const auto* d = static_cast<const Real*>(d_.d_states[state]);
    return d ? Io::load(d + (b * s_.T + t) * s_.U + p * L, lanes(p)) : V::zero();
  }
  T* dz(int64_t p, int64_t at) const { return dz_ + (p * chunk_rows_ + at) * 4 * L; }
  T* dh(int64_t b, int64_t p) const { return dh_ + b * s_.padded + p * L; }
  int lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.U - p * L)); }
  // One gate's part of a tile of transposed weights: [P][3][L][N][L], in the order g, z, r or z, r, g.
  int64_t weights_at(int64_t n, int64_t p, int gate) const {
    return ((n * s_.P + p) * 3 + gate) * L * N * L;
  }

  const conveyor_gru& g_;
  const conveyor_gru_gradients& d_;
  const conveyor_lstm l_;
  const Shape s_;
  const GruFunctions<V> functions_;
  Workspace memory_;
  const Steps steps_;
  Stop stop_;

  bool after_ = true, wants_weights_ = false, wants_x_ = false;
  int x_gates_ = 1, h_gates_ = 1, planes_ = 1;
  int64_t tiles_ = 0, x_tiles_ = 0, input_row_ = 0, chunk_ = 1, chunk_rows_ = 0;
  T *recurrent_ = nullptr, *kernel_ = nullptr, *dz_ = nullptr, *dh_ = nullptr;
  T *dh_start_ = nullptr;  // of rows that began anew there
  T *input_ = nullptr, *weights_ = nullptr, *biases_ = nullptr;
  T *d_dropout_ = nullptr, *d_recurrent_ = nullptr;
  Place* places_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor

#include "kernels/gru_backward_products.h"
#include "kernels/gru_backward_step.h"
