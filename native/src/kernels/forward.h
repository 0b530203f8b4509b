// The forward pass.
//
// Units come in panels of L, the lanes of a vector. A tile is a few rows of the batch by the
// four gates of one panel: 4 vectors a row, so that gates, cell state and hidden state follow
// from the product without leaving the registers.
#pragma once

#include <cstring>

#include "kernels/operand.h"
#include "kernels/shape.h"
#include "kernels/variant.h"
#include "steps.h"
#include "wavefront.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
class Forward {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  using A = typename V::A;
  using Io = typename V::template Io<Real>;
  using Read = Operand<V>;
  static constexpr int L = V::L;
  static constexpr int M = V::kRows;

  Forward(const conveyor_lstm& l, const conveyor_lstm_outputs& out, const Wavefront& wave = {})
      : l_(l), out_(out), wave_(wave), s_(l, L), variant_(l), steps_(l, memory_),
        stop_(l.interrupted) {}

  int run() {
    if (s_.B == 0) return CONVEYOR_OK;
    plan();
    const double work = 4.0 * s_.B * s_.T * (s_.F + s_.U) * s_.padded;
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(l_.threads, work);
    if (!splits_rows(threads))
      threads = threads_for_steps(threads, 4.0 * s_.B * ((ahead_ ? 0 : s_.F) + s_.U) * s_.padded);
    run_team(threads, task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

  // For a stream: packs the weights, and keeps them.
  void open() {
    plan();
    Team alone(1);
    prepare(alone, 0);
  }

  // The step of a stream: l.x, and states that are read and overwritten.
  void step(int64_t batch, Real* hidden_state, State* cell_state) {
    if (batch == 0) return;
    const double work = 4.0 * batch * (s_.F + s_.U) * s_.padded;
    auto task = [&](Team& team, int member) {
      const Range rows{0, batch};
      if (stage_x_) stage(0, share(batch, team.size(), member), 0);
      const Range panels = share(s_.P, team.size(), member);
      for (int64_t p = panels.begin; p < panels.end; ++p) {
        for (int64_t b = 0; b < batch; ++b) {
          Read::store(h_[0] + b * row_, p * L,
                       Io::load(hidden_state + b * s_.U + p * L, lanes(p)));
          V::store(cell(p, b),
                   V::template Io<State>::load(cell_state + b * s_.U + p * L, lanes(p)));
        }
      }
      team.barrier();
      uint8_t* parity = parity_ + member * s_.B;
      std::memset(parity, 0, s_.B);
      Block* blocks = blocks_ + member * blocks_per_member_;
      compute(0, make_blocks(0, rows, parity, blocks), blocks, panels, member);
      for (int64_t p = panels.begin; p < panels.end; ++p) {
        for (int64_t b = 0; b < batch; ++b) {
          Io::store(hidden_state + b * s_.U + p * L, Read::load(h_[1] + b * row_, p * L),
                    lanes(p));
          V::template Io<State>::store(cell_state + b * s_.U + p * L, V::load(cell(p, b)),
                                       lanes(p));
        }
      }
    };
    run_team(threads_for(l_.threads, work), task);
    ++steps_of_stream_;
  }

 protected:
  // So many rows of weights times tiles of a panel take a fraction of a millisecond.
  static constexpr int64_t kLong = 1 << 16;

  // A few rows that are computed together.
  struct Block {
    int rows;
    int64_t b[M];
    const A* x[M];  // features; by gate: [4][F]
    const A* h[M];  // hidden state before the step; by gate: [4][H]
    const A* h_before[M];  // the same, without dropout
    A* h_after[M];
    const T* z[M];  // the projection of x, [P][4][L], where it is computed ahead
  };

  void plan() {
    const bool small = (s_.F + s_.H) * s_.padded * 4 * int64_t{sizeof(T)} <= (int64_t{1} << 19);
    small_ = small;
    // Where a step has too few rows to fill tiles, or the weights do not fit a cache together,
    // x W is computed for several steps at once.
    const int64_t weights = (s_.F + s_.H) * s_.padded * 4 * int64_t{sizeof(T)};
    const bool ahead = s_.T > 1 && s_.F > 0 && (s_.B < 2 * M || weights > (int64_t{20} << 20));
    const int64_t bytes = 4 * s_.padded * int64_t{sizeof(T)} * s_.B;
    ahead_ = ahead ? std::max<int64_t>(
                         1, std::min(s_.T, (int64_t{1} << 20) / std::max<int64_t>(1, bytes)))
                   : 0;
    if (ahead_ && s_.B * ahead_ < 4 * M) ahead_ = std::min<int64_t>(s_.T, 4 * M / s_.B + 1);
    if (ahead_ && wave_.any()) ahead_ = std::min(ahead_, turn(s_.B, s_.T));

    f_ = Read::count(s_.F);
    u_ = Read::count(s_.H);
    row_ = s_.row() / V::kPair;
    kernel_ = memory_.take<A>(s_.P * f_ * 4 * L);
    recurrent_ = memory_.take<A>(s_.P * u_ * 4 * L);
    bias_ = memory_.take<T>(s_.P * 4 * L);
    if (l_.peephole) peephole_ = memory_.take<T>(s_.P * 3 * L);
    for (auto& h : h_) h = memory_.take<A>(s_.B * row_);
    c_ = memory_.take<T>(s_.B * s_.padded);
    x_gates_ = l_.dropout_masks == 4 ? 4 : 1;
    h_gates_ = l_.recurrent_dropout_masks == 4 ? 4 : 1;
    // Rows of x are read where they are, unless they are not what a product reads.
    stage_x_ = l_.dropout_masks != 0 || !std::is_same<typename Read::Element, Real>::value ||
               s_.F % V::kPair != 0;
    const int64_t steps = std::max<int64_t>(1, ahead_);
    x_staged_ = staged(s_.F), h_staged_ = staged(s_.H);
    if (stage_x_) x_ = memory_.take<A>(steps * s_.B * x_staged_ * x_gates_);
    if (l_.recurrent_dropout_masks) dropped_ = memory_.take<A>(s_.B * h_staged_ * h_gates_);
    if (ahead_) z_ = memory_.take<T>(steps * s_.B * s_.padded * 4);
    const int most = l_.threads ? l_.threads : conveyor_threads();
    blocks_per_member_ = s_.B * steps / M + 2;
    blocks_ = memory_.take<Block>(most * blocks_per_member_);
    parity_ = memory_.take<uint8_t>(int64_t{most} * s_.B);
    if (out_.reserve) {
      gates_ = static_cast<Real*>(out_.reserve);
      cells_ = reinterpret_cast<State*>(gates_ + s_.T * s_.B * ((s_.U + 15) / 16 * 16) * 4);
    }
    any_gate_ = out_.reserve != nullptr;
    for (int g = 0; g < 4; ++g) any_gate_ |= out_.states[CONVEYOR_INPUT_GATES + g] != nullptr;
    usual_ = std::is_same<T, float>::value && variant_.nothing;
    for (void* state : out_.states)
      if (state) prefer_huge_pages(state, s_.B * s_.T * s_.U * sizeof(Real));
    if (out_.reserve)
      prefer_huge_pages(out_.reserve, conveyor_lstm_reserve_bytes(&l_));
  }

  // A that hold a row of so many elements in whole vectors. As Shape::row.
  static int64_t staged(int64_t elements) {
    const int64_t padded = (elements + L - 1) / L * L;
    return (padded % 256 ? padded : padded + 16) / V::kPair;
  }

  bool splits_rows(int threads) const {
    return threads == 1 || (small_ && s_.B >= 2 * M * threads);
  }

  void work_on(Team& team, int member) {
    // Every member owns some rows or some units; where units, all meet after each step.
    const bool by_rows = splits_rows(team.size());
    const Range rows = by_rows ? share(s_.B, team.size(), member) : Range{0, s_.B};
    const Range panels = by_rows ? Range{0, s_.P} : share(s_.P, team.size(), member);
    prepare(team, member);
    Block* blocks = blocks_ + member * blocks_per_member_;
    uint8_t* parity = parity_ + member * s_.B;
    std::memset(parity, 0, s_.B);
    int64_t round = 0;
    if (stop_.meet(team, member, round)) return;
    for (int64_t t = 0; t < s_.T; ++t) {
      const Range active = active_rows(t, rows);
      wait_for_step(t);
      if (steps_.resets(t)) {
        restart(t, rows, panels, parity);
        if (!by_rows) team.barrier();  // hidden states are read by all
      }
      if (ahead_ && t % ahead_ == 0) {
        project(team, member, t, rows, panels, blocks, by_rows, round);
      } else if (stage_x_ && !ahead_) {
        stage(t, by_rows ? active : share_of(active, team, member), t);
      }
      if (l_.recurrent_dropout_masks)
        drop_hidden(t, by_rows ? active : share_of(active, team, member), parity);
      if (!by_rows && (l_.recurrent_dropout_masks || (stage_x_ && !ahead_)) &&
          stop_.meet(team, member, round))
        return;
      const int64_t n = make_blocks(t, active, parity, blocks);
      compute(t, n, blocks, panels, member);
      if (steps_.masked()) repeat(t, rows, panels, parity);
      for (int64_t k = active.begin; k < active.end; ++k) parity[steps_.row(t, k)] ^= 1;
      if (by_rows ? stop_.alone(member, round) : stop_.meet(team, member, round)) return;
      tell_of_step(t);
    }
    finish(rows, panels, parity);
  }

  // In a stack: until what this step and those projected with it read is there.
  void wait_for_step(int64_t t) const {
    if (!wave_.before || (ahead_ && t % ahead_)) return;
    const int64_t end = std::min(s_.T, t + std::max<int64_t>(1, ahead_));
    wave_.before->wait_for(l_.go_backwards ? s_.T : end);
  }
  void tell_of_step(int64_t t) const {
    if (wave_.own && (t + 1) % turn(s_.B, s_.T) == 0) wave_.own->reach(t + 1);
  }

  static Range share_of(Range all, const Team& team, int member) {
    const Range part = share(all.size(), team.size(), member);
    return {all.begin + part.begin, all.begin + part.end};
  }

  T* cell(int64_t p, int64_t b, int64_t lane = 0) const { return c_ + (p * s_.B + b) * L + lane; }

  const A* x_row(int64_t t, int64_t b, int64_t t0) const {
    if (stage_x_) return x_ + ((t - t0) * s_.B + b) * x_staged_ * x_gates_;
    return reinterpret_cast<const A*>(static_cast<const Real*>(l_.x) +
                                      (b * s_.T + steps_.time(t)) * s_.F);
  }

  T* z_row(int64_t t, int64_t b) const { return z_ + ((t % ahead_) * s_.B + b) * s_.padded * 4; }

  // In forward_tiles.h.
  void compute(int64_t t, int64_t n, const Block* blocks, Range panels, int member);
  template <int R>
  void project_tile(const Block& block, int64_t p);
  template <int R>
  static void start(reg (&acc)[R][4], const T* bias);
  template <int R>
  static void load_rows(reg (&acc)[R][4], const T* const (&z)[M], int64_t p);
  template <int R>
  static void add_masked_product(reg (&acc)[R][4], const A* const (&rows)[R], const A* w, int64_t K,
                                 int gates, int64_t staged);
  template <int R>
  void tile(const Block& block, int64_t p, int64_t t);
  template <int K>
  void tile_of_panels(const Block& block, int64_t first, int64_t t, bool up);
  template <bool kLaterFirst>
  void add_halves(reg (&sum)[4], const A* row, const A* w);

  // In forward_step.h.
  template <int K>
  void pointwise_of_rows(const reg (*from)[4], const Block& block, int m, int64_t p, int64_t t);
  template <int K>
  void pointwise(const reg (*from)[4], const int64_t (&rows)[K], const int64_t (&panels)[K],
                 const A* const (&h_before)[K], A* const (&h_after)[K], int64_t t);
  template <int K>
  void general_step(reg (&z)[K][4], reg (&into)[K][4], reg (&c)[K], reg (&h)[K],
                    const int64_t (&rows)[K], const int64_t (&panels)[K],
                    const A* const (&h_before)[K], int64_t t) const;
  void keep_gates(const reg (&gates)[4], const reg (&kept)[4], int64_t b, int64_t t, int64_t p,
                  int n);

  // In forward_rows.h.
  void prepare(Team& team, int member);
  Range active_rows(int64_t t, Range rows) const;
  void stage(int64_t t, Range active, int64_t t0);
  template <class From>
  void apply_masks(const From* from, const Real* masks, int count, int64_t b, int64_t width,
                   A* to, int64_t apart) const;
  void drop_hidden(int64_t t, Range active, const uint8_t* parity);
  void project(Team& team, int member, int64_t t0, Range rows, Range panels, Block* blocks,
               bool by_rows, int64_t& round);
  int64_t make_blocks(int64_t t, Range active, const uint8_t* parity, Block* blocks) const;
  void repeat(int64_t t, Range rows, Range panels, const uint8_t* parity);
  void restart(int64_t t, Range rows, Range panels, const uint8_t* parity);
  void finish(Range rows, Range panels, const uint8_t* parity);

  Real* real(int state) const { return static_cast<Real*>(out_.states[state]); }
  int64_t at(int64_t b, int64_t t, int64_t p) const { return (b * s_.T + t) * s_.U + p * L; }
  int64_t reserved(int64_t b, int64_t t, int64_t p) const {
    return ((t * s_.P + p) * s_.B + b) * L;
  }
  int lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.U - p * L)); }

  const conveyor_lstm& l_;
  const conveyor_lstm_outputs& out_;
  const Wavefront wave_;
  const Shape s_;
  const Variant<V> variant_;
  Workspace memory_;
  const Steps steps_;
  Stop stop_;

  bool small_ = false, stage_x_ = false, any_gate_ = false, usual_ = false;
  int64_t blocks_per_member_ = 0, steps_of_stream_ = 0;
  int64_t ahead_ = 0;  // steps whose x W is computed together; 0: each with its own step
  int x_gates_ = 1, h_gates_ = 1;
  int64_t f_ = 0, u_ = 0, row_ = 0;  // in A: features, hidden, a row of hidden states
  int64_t x_staged_ = 0, h_staged_ = 0;  // in A: rows that a product reads instead
  A *kernel_ = nullptr, *recurrent_ = nullptr, *h_[2] = {}, *x_ = nullptr, *dropped_ = nullptr;
  T *bias_ = nullptr, *peephole_ = nullptr, *c_ = nullptr, *z_ = nullptr;
  Block* blocks_ = nullptr;
  uint8_t* parity_ = nullptr;
  Real* gates_ = nullptr;
  State* cells_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor

#include "kernels/forward_rows.h"
#include "kernels/forward_step.h"
#include "kernels/forward_tiles.h"
