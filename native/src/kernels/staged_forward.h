// The forward pass of a request in stages: products for all units of a row, and between them what
// needs the whole row.
//
//     x, h'   -> z             a product
//     z, c'   -> gates, c      normalised, row by row
//     c       -> c W5 + b5     a product, where there is one
//             -> o * psi()     row by row
//             -> (o * psi()) P a product, where there is one
//             -> h             row by row
#pragma once

#include <optional>

#include "kernels/forward.h"
#include "kernels/row_product.h"
#include "kernels/staged_cell.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
class StagedForward : private Forward<V, Real, State> {
  using Base = Forward<V, Real, State>;
  using typename Base::A;
  using typename Base::Block;
  using typename Base::Io;
  using typename Base::T;
  using typename Base::reg;
  using Base::ahead_;
  using Base::cell;
  using Base::L;
  using Base::l_;
  using Base::M;
  using Base::memory_;
  using Base::out_;
  using Base::real;
  using Base::row_;
  using Base::s_;
  using Base::steps_;
  using Base::stop_;
  using Base::variant_;
  static_assert(std::is_same<A, T>::value && std::is_same<State, T>::value, "one type of numbers");

 public:
  StagedForward(const conveyor_lstm& l, const conveyor_lstm_outputs& out,
                const Wavefront& wave = {})
      : Base(l, out, wave) {}

  int run() {
    if (s_.B == 0) return CONVEYOR_OK;
    plan_stages();
    const double a_step = multiply_adds(s_.B);
    const double work = s_.T * (a_step + (ahead_ ? 4.0 * s_.B * s_.F * s_.padded : 0));
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(l_.threads, work);
    if (!this->splits_rows(threads)) threads = threads_for_steps(threads, a_step);
    run_team(threads, task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

  // For a stream: packs the weights, and keeps them.
  void open() {
    plan_stages();
    Team alone(1);
    pack(alone, 0);
  }

  // The step of a stream: l.x, and states that are read and overwritten.
  void step(int64_t batch, Real* hidden_state, State* cell_state) {
    if (batch == 0) return;
    const double work = multiply_adds(batch);
    auto task = [&](Team& team, int member) {
      const bool by_rows = team.size() == 1 || (this->small_ && batch >= 2 * M * team.size());
      const Part part = part_of(team, member, batch, by_rows);
      read_states(part.own, hidden_state, cell_state);
      if (this->stage_x_) this->stage(0, part.own, 0);
      part.meet();
      compute(part, 0, part.rows, part.own);
      write_states(part.own, hidden_state, cell_state);
    };
    run_team(threads_for_stream(l_.threads, work), task);
  }

 private:
  // What a member does of a step: rows that it owns, and its part of a product, those rows or some
  // of the columns of all.
  struct Part {
    Team& team;
    int member;
    bool by_rows;
    Range own, rows, panels;
    Block* blocks;
    uint8_t* parity;
    bool long_step;
    Range of(int64_t n) const { return by_rows ? Range{0, n} : share(n, team.size(), member); }
    void meet() const {
      if (!by_rows) team.barrier();
    }
  };

  Part part_of(Team& team, int member, int64_t batch, bool by_rows) const {
    const Range own = share(batch, team.size(), member);
    Part part{team, member, by_rows, own, by_rows ? own : Range{0, batch}, {}, nullptr, nullptr,
              false};
    part.panels = part.of(s_.P);
    part.blocks = this->blocks_ + member * this->blocks_per_member_;
    part.parity = this->parity_ + member * s_.B;  // hidden states have one place
    std::memset(part.parity, 0, s_.B);
    part.long_step = part.rows.size() * (s_.F + s_.H + s_.U) > M * Base::kLong;
    return part;
  }

  // Of a step.
  double multiply_adds(int64_t rows) const {
    return 4.0 * rows * ((ahead_ ? 0 : s_.F) + s_.H) * s_.padded +
           1.0 * rows * (transform_.multiply_adds() + projection_.multiply_adds());
  }

  void plan_stages() {
    this->plan();
    row_of_.emplace(l_, s_, variant_, memory_);
    if (l_.output_transform) transform_.plan(memory_, s_.U, s_.U);
    if (l_.projection) projection_.plan(memory_, s_.U, s_.H);
    units_row_ = s_.padded % 256 ? s_.padded : s_.padded + 16;
    kept_ = KeptInStages<T>(l_, out_.reserve);
    gates_row_ = 4 * s_.padded;
    if (!out_.reserve) {
      z_now_ = memory_.template take<T>(s_.B * gates_row_);
      if (row_of_->joint) x_now_ = memory_.template take<T>(s_.B * gates_row_);
      if (l_.output_transform) inner_ = memory_.template take<T>(s_.B * units_row_);
    }
    for (T** one : {&made_, &outward_, &o_}) *one = memory_.template take<T>(s_.B * units_row_);
    if (l_.projection) projected_ = memory_.template take<T>(s_.B * s_.hidden_padded);
  }

  // What the products of a step leave of a row: in the reserve, where there is one.
  T* z_of(int64_t b, int64_t t) const {
    return out_.reserve ? kept_.z + kept_.row(b, t) * 4 : z_now_ + b * gates_row_;
  }
  T* x_of(int64_t b, int64_t t) const {
    return out_.reserve ? kept_.x + kept_.row(b, t) * 4 : x_now_ + b * gates_row_;
  }
  T* inner_of(int64_t b, int64_t t) const {
    return out_.reserve ? kept_.inner + kept_.row(b, t) : inner_ + b * units_row_;
  }
  T* row_in(T* rows, int64_t b) const { return rows + b * units_row_; }

  // Each member a part.
  void pack(Team& team, int member) {
    this->prepare(team, member);
    if (l_.output_transform)
      transform_.pack(static_cast<const Real*>(l_.output_kernel),
                      share(transform_.groups(), team.size(), member));
    if (l_.projection)
      projection_.pack(static_cast<const Real*>(l_.projection_kernel),
                       share(projection_.groups(), team.size(), member));
  }

  void work_on(Team& team, int member) {
    const bool by_rows = this->splits_rows(team.size());
    const Part part = part_of(team, member, s_.B, by_rows);
    pack(team, member);
    int64_t round = 0;
    if (stop_.meet(team, member, round)) return;
    for (int64_t t = 0; t < s_.T; ++t) {
      const Range active = this->active_rows(t, part.rows), mine = this->active_rows(t, part.own);
      this->wait_for_step(t);
      if (steps_.resets(t)) {
        restart(t, part.own);
        part.meet();
      }
      if (ahead_ && t % ahead_ == 0)
        this->project(team, member, t, part.rows, part.panels, part.blocks, by_rows, round);
      else if (this->stage_x_ && !ahead_)
        this->stage(t, by_rows ? active : this->share_of(active, team, member), t);
      if (l_.recurrent_dropout_masks)
        this->drop_hidden(t, by_rows ? active : this->share_of(active, team, member), part.parity);
      if (l_.recurrent_dropout_masks || (this->stage_x_ && !ahead_)) part.meet();
      compute(part, t, active, mine);
      if (steps_.masked()) repeat(t, part.own, mine);
      if (by_rows ? stop_.alone(member, round) : stop_.meet(team, member, round)) return;
      this->tell_of_step(t);
    }
    finish(part.own);
  }

  // Step t of the active rows; those that are `mine` are finished here.
  void compute(const Part& part, int64_t t, Range active, Range mine) {
    const Block* blocks = part.blocks;
    const auto skip = [&] { return part.long_step && stop_.skip(part.member); };
    const auto multiply = [&](const RowProduct<V>& product, const T* bias, T* from, auto to) {
      product.run(
          active.size(), part.of(product.groups()), bias,
          [&](int64_t n) { return steps_.row(t, active.begin + n); },
          [&](int64_t b) { return row_in(from, b); }, to, skip);
    };
    const int64_t n = this->make_blocks(t, active, part.parity, part.blocks);
    for (int64_t p = part.panels.begin; p < part.panels.end && !skip(); ++p)
      for (int64_t k = 0; k < n; ++k)
        with_rows<M>(blocks[k].rows,
                     [&](auto m) { into_gates<decltype(m)::count>(blocks[k], p, t); });
    part.meet();
    for (int64_t k = mine.begin; k < mine.end; ++k) gates_of(steps_.row(t, k), t);
    if (l_.output_transform) {
      part.meet();
      multiply(transform_, row_of_->output_bias, made_,
               [&](int64_t b) { return inner_of(b, t); });
      part.meet();
      for (int64_t k = mine.begin; k < mine.end; ++k) {
        const int64_t b = steps_.row(t, k);
        way_out(b, inner_of(b, t));
      }
    }
    if (l_.projection) {
      part.meet();
      multiply(projection_, nullptr, outward_,
               [&](int64_t b) { return projected_ + b * s_.hidden_padded; });
      part.meet();
    }
    for (int64_t k = mine.begin; k < mine.end; ++k) {
      const int64_t b = steps_.row(t, k);
      hidden(b, t, l_.projection ? projected_ + b * s_.hidden_padded : row_in(outward_, b));
    }
  }

  // In staged_forward_rows.h.
  template <int R>
  void into_gates(const Block& block, int64_t p, int64_t t);
  void gates_of(int64_t b, int64_t t);
  void keep(const reg (&gates)[4], reg cell, int64_t b, int64_t t, int64_t p);
  void way_out(int64_t b, const T* inner);
  void hidden(int64_t b, int64_t t, const T* made);
  void put_hidden(int64_t b, int64_t t, int64_t p, reg h);
  void repeat(int64_t t, Range own, Range mine);
  void restart(int64_t t, Range own);
  void finish(Range own);
  void read_states(Range own, const Real* hidden_state, const State* cell_state);
  void write_states(Range own, Real* hidden_state, State* cell_state) const;

  int hidden_lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.H - p * L)); }
  T* h_at(int64_t b, int64_t p) const { return this->h_[0] + b * row_ + p * L; }

  std::optional<const StagedCell<V, Real>> row_of_;
  RowProduct<V> transform_, projection_;
  KeptInStages<T> kept_;
  int64_t units_row_ = 0, gates_row_ = 0;
  T *z_now_ = nullptr, *x_now_ = nullptr, *inner_ = nullptr;  // where there is no reserve
  T *made_ = nullptr, *outward_ = nullptr, *o_ = nullptr;     // c as W5 reads it; o * psi(); o
  T* projected_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor

#include "kernels/staged_forward_rows.h"
