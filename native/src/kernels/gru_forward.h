// The GRU's forward pass.
//
// x W + b is computed for several steps at once. A step then takes tiles of a few rows by the gates
// of one panel of L units; where the reset gate acts on h' itself, the candidates follow in a
// second round, of tiles of a few rows by two panels, as each reads r * h' of all units.
#pragma once

#include <cstring>

#include "kernels/functions.h"
#include "kernels/gru_shape.h"
#include "kernels/tile.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real>
class GruForward {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  using Io = typename V::template Io<Real>;
  static_assert(V::kPair == 1, "rows of this kernel are plain");
  static constexpr int L = V::L;
  static constexpr int M = V::kRegisters > 16 ? 8 : 4;
  static constexpr int N = 2;  // panels that belong to one member

  GruForward(const conveyor_gru& g, const conveyor_gru_outputs& out)
      : g_(g), out_(out), l_(as_lstm(g)), s_(l_, L), functions_(l_), steps_(l_, memory_),
        stop_(g.interrupted) {}

  int run() {
    if (s_.B == 0) return CONVEYOR_OK;
    plan();
    const double work = 3.0 * s_.B * s_.T * (s_.F + s_.U) * s_.padded;
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(g_.threads, work);
    if (!splits_rows(threads))
      threads = threads_for_steps(threads, 3.0 * s_.B * s_.U * s_.padded);
    run_team(threads, task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

  // For a stream: packs the weights, and keeps them.
  void open() {
    plan();
    Team alone(1);
    prepare(alone, 0);
  }

  // The step of a stream: g.x, and a state that is read and overwritten.
  void step(int64_t batch, T* hidden_state) {
    if (batch == 0) return;
    const double work = 3.0 * batch * (s_.F + s_.U) * s_.padded;
    auto task = [&](Team& team, int member) { step_on(team, member, batch, hidden_state); };
    run_team(threads_for_stream(g_.threads, work), task);
  }

 private:
  // Rows times weights beyond which a step may take longer than a person waits.
  static constexpr int64_t kLong = 1 << 16;

  struct Block {
    int rows;
    int64_t b[M];
    const T* in[M];  // what a product reads: features, or the hidden state; by gate if dropped so
    T* z[M];         // [P][3][L]: x W + b
  };

  void plan() {
    after_ = g_.reset_after != 0;
    gates_ = after_ ? 3 : 2;
    const int64_t weights = (s_.F + s_.U) * s_.padded * 3 * int64_t{sizeof(T)};
    small_ = weights <= (int64_t{1} << 19);
    tiles_ = (s_.P + N - 1) / N;
    width_ = 3 * s_.padded;
    const int64_t bytes = width_ * int64_t{sizeof(T)} * s_.B;
    ahead_ = std::max<int64_t>(1, std::min(s_.T, (int64_t{1} << 20) / bytes));
    if (s_.B * ahead_ < 4 * M) ahead_ = std::max<int64_t>(1, std::min<int64_t>(s_.T, 4 * M / s_.B + 1));
    row_ = s_.row();
    x_gates_ = g_.dropout_masks == 3 ? 3 : 1;
    h_gates_ = g_.recurrent_dropout_masks == 3 ? 3 : 1;
    kernel_ = memory_.take<T>(s_.P * s_.F * 3 * L);
    recurrent_ = memory_.take<T>(s_.P * s_.U * gates_ * L);
    bias_ = memory_.take<T>(s_.P * 3 * L);
    state_bias_ = memory_.take<T>(s_.P * L);
    for (auto& h : h_) h = memory_.take<T>(s_.B * row_);
    if (!after_) {
      candidate_ = memory_.take<T>(tiles_ * s_.U * N * L);
      update_ = memory_.take<T>(s_.B * s_.padded);
      reset_ = memory_.take<T>(s_.B * row_);
    }
    stage_x_ = g_.dropout_masks != 0 || !std::is_same<T, Real>::value;
    if (stage_x_) x_ = memory_.take<T>(ahead_ * s_.B * s_.F * x_gates_);
    if (g_.recurrent_dropout_masks) dropped_ = memory_.take<T>(s_.B * row_ * h_gates_);
    z_ = memory_.take<T>(ahead_ * s_.B * width_);
    const int most = g_.threads ? g_.threads : conveyor_threads();
    blocks_per_member_ = s_.B * ahead_ / M + 2;
    blocks_ = memory_.take<Block>(most * blocks_per_member_);
    parity_ = memory_.take<uint8_t>(int64_t{most} * s_.B);
    for (void* state : out_.states)
      if (state) prefer_huge_pages(state, s_.B * s_.T * s_.U * sizeof(Real));
    if (out_.reserve)
      prefer_huge_pages(out_.reserve, conveyor_gru_reserve_bytes(g_.dtype, s_.B, s_.T, s_.U));
  }

  bool splits_rows(int threads) const {
    return threads == 1 || (small_ && s_.B >= 2 * M * threads);
  }

  void work_on(Team& team, int member) {
    // Every member owns some rows or some units; where units, all meet after each step.
    const bool by_rows = splits_rows(team.size());
    const Range rows = by_rows ? share(s_.B, team.size(), member) : Range{0, s_.B};
    const Range tiles = by_rows ? Range{0, tiles_} : share(tiles_, team.size(), member);
    const Range panels{tiles.begin * N, std::min(s_.P, tiles.end * N)};
    prepare(team, member);
    Block* blocks = blocks_ + member * blocks_per_member_;
    uint8_t* parity = parity_ + member * s_.B;
    std::memset(parity, 0, s_.B);
    int64_t round = 0;
    if (stop_.meet(team, member, round)) return;
    for (int64_t t = 0; t < s_.T; ++t) {
      const Range active = active_rows(steps_, t, rows);
      if (steps_.resets(t)) {
        restart(t, rows, panels, parity);
        if (!by_rows) team.barrier();  // hidden states are read by all
      }
      if (t % ahead_ == 0) project(team, member, t, rows, panels, blocks, by_rows);
      if (dropped_) {
        drop_hidden(t, by_rows ? active : share_of(active, team, member), parity);
        if (!by_rows) team.barrier();
      }
      const int64_t n = make_blocks(t, active, parity, blocks);
      gates(t, n, blocks, panels, parity, member);
      if (!after_) {
        if (!by_rows) team.barrier();
        candidates(t, n, blocks, tiles, parity, member);
      }
      if (steps_.masked()) repeat(t, rows, panels, parity);
      for (int64_t k = active.begin; k < active.end; ++k) parity[steps_.row(t, k)] ^= 1;
      if (by_rows ? stop_.alone(member, round) : stop_.meet(team, member, round)) return;
    }
    finish(rows, panels, parity);
  }

  void step_on(Team& team, int member, int64_t batch, T* hidden_state) {
    using States = typename V::template Io<T>;
    const bool by_rows = team.size() == 1 || (small_ && batch >= 2 * M * team.size());
    const Range rows = by_rows ? share(batch, team.size(), member) : Range{0, batch};
    const Range tiles = by_rows ? Range{0, tiles_} : share(tiles_, team.size(), member);
    const Range panels{tiles.begin * N, std::min(s_.P, tiles.end * N)};
    Block* blocks = blocks_ + member * blocks_per_member_;
    uint8_t* parity = parity_ + member * s_.B;
    std::memset(parity, 0, s_.B);
    const auto each = [&](auto one) {
      for (int64_t b = rows.begin; b < rows.end; ++b)
        for (int64_t p = panels.begin; p < panels.end; ++p)
          one(b, p * L, hidden_state + b * s_.U + p * L, lanes(p));
    };
    each([&](int64_t b, int64_t u, const T* from, int n) {
      V::store(before(b, parity) + u, States::load(from, n));
    });
    project(team, member, 0, rows, panels, blocks, by_rows);
    if (!by_rows) team.barrier();  // hidden states are read by all
    const int64_t n = make_blocks(0, rows, parity, blocks);
    gates(0, n, blocks, panels, parity, member);
    if (!after_) {
      if (!by_rows) team.barrier();
      candidates(0, n, blocks, tiles, parity, member);
    }
    each([&](int64_t b, int64_t u, T* to, int n) {
      States::store(to, V::load(following(b, parity) + u), n);
    });
  }

  static Range share_of(Range all, const Team& team, int member) {
    const Range part = share(all.size(), team.size(), member);
    return {all.begin + part.begin, all.begin + part.end};
  }

  // In gru_forward_rows.h.
  void prepare(Team& team, int member);
  void restart(int64_t t, Range rows, Range panels, const uint8_t* parity);
  void project(Team& team, int member, int64_t t0, Range rows, Range panels, Block* blocks,
               bool by_rows);
  void drop_hidden(int64_t t, Range active, const uint8_t* parity);
  int64_t make_blocks(int64_t t, Range active, const uint8_t* parity, Block* blocks) const;
  void repeat(int64_t t, Range rows, Range panels, const uint8_t* parity);
  void finish(Range rows, Range panels, const uint8_t* parity);

  // In gru_forward_tiles.h.
  void gates(int64_t t, int64_t n, const Block* blocks, Range panels, const uint8_t* parity,
             int member);
  void candidates(int64_t t, int64_t n, const Block* blocks, Range tiles, const uint8_t* parity,
                  int member);
  template <int R>
  void project_tile(const Block& block, int64_t p);
  template <int R>
  void tile(const Block& block, int64_t p, int64_t t, const uint8_t* parity);
  template <int R>
  void reset_tile(const Block& block, int64_t p, int64_t t, const uint8_t* parity);
  template <int R>
  void candidate_tile(const Block& block, int64_t n, int64_t t, const uint8_t* parity);
  template <int R, int G>
  void add(reg (&acc)[R][G], const Block& block, const T* w, int64_t K, int gates, int64_t stride);
  void keep(int first, reg one, reg two, int64_t b, int64_t t, int64_t p);
  void write(int64_t b, int64_t t, int64_t p, reg z, reg r, reg g, reg h);

  Real* real(int state) const { return static_cast<Real*>(out_.states[state]); }
  int64_t at(int64_t b, int64_t t, int64_t p) const { return (b * s_.T + t) * s_.U + p * L; }
  int lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.U - p * L)); }
  T* z_row(int64_t t, int64_t b) const { return z_ + (t % ahead_ * s_.B + b) * width_; }
  T* before(int64_t b, const uint8_t* parity) const { return h_[parity[b]] + b * row_; }
  T* following(int64_t b, const uint8_t* parity) const { return h_[parity[b] ^ 1] + b * row_; }

  const conveyor_gru& g_;
  const conveyor_gru_outputs& out_;
  const conveyor_lstm l_;
  const Shape s_;
  const GruFunctions<V> functions_;
  Workspace memory_;
  const Steps steps_;
  Stop stop_;

  bool after_ = true, small_ = false, stage_x_ = false;
  int gates_ = 3, x_gates_ = 1, h_gates_ = 1;
  int64_t tiles_ = 0, width_ = 0, row_ = 0, blocks_per_member_ = 0;
  int64_t ahead_ = 1;  // steps whose x W is computed together
  T *kernel_ = nullptr, *recurrent_ = nullptr, *candidate_ = nullptr, *bias_ = nullptr;
  T *state_bias_ = nullptr, *h_[2] = {}, *x_ = nullptr, *dropped_ = nullptr, *z_ = nullptr;
  T *update_ = nullptr, *reset_ = nullptr;  // z, and r * h' as the candidates read it
  Block* blocks_ = nullptr;
  uint8_t* parity_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor

#include "kernels/gru_forward_rows.h"
#include "kernels/gru_forward_tiles.h"
