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
  StagedForward(const conveyor_lstm& l, const conveyor_lstm_outputs& out, const Wavefront& wave)
      : Base(l, out, wave) {}

  int run() {
    if (s_.B == 0) return CONVEYOR_OK;
    this->plan();
    const StagedCell<V, Real> row(l_, s_, variant_, memory_);
    row_of_ = &row;
    plan_stages();
    const double a_step = 4.0 * s_.B * ((ahead_ ? 0 : s_.F) + s_.H) * s_.padded +
                          1.0 * s_.B * (transform_.multiply_adds() + projection_.multiply_adds());
    const double work = s_.T * (a_step + (ahead_ ? 4.0 * s_.B * s_.F * s_.padded : 0));
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(l_.threads, work);
    if (!this->splits_rows(threads)) threads = threads_for_steps(threads, a_step);
    run_team(threads, task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

 private:
  void plan_stages() {
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

  void work_on(Team& team, int member) {
    const bool by_rows = this->splits_rows(team.size());
    const int size = team.size();
    // The rows that this member owns; and its part of a product, those or some of the columns.
    const Range own = share(s_.B, size, member);
    const Range rows = by_rows ? own : Range{0, s_.B};
    const auto part = [&](int64_t n) { return by_rows ? Range{0, n} : share(n, size, member); };
    const Range panels = part(s_.P);
    this->prepare(team, member);
    if (l_.output_transform)
      transform_.pack(static_cast<const Real*>(l_.output_kernel),
                      share(transform_.groups(), size, member));
    if (l_.projection)
      projection_.pack(static_cast<const Real*>(l_.projection_kernel),
                       share(projection_.groups(), size, member));
    Block* blocks = this->blocks_ + member * this->blocks_per_member_;
    uint8_t* parity = this->parity_ + member * s_.B;  // hidden states have one place
    std::memset(parity, 0, s_.B);
    int64_t round = 0;
    const bool long_step = rows.size() * (s_.F + s_.H + s_.U) > M * Base::kLong;
    const auto meet = [&] {
      if (!by_rows) team.barrier();
    };
    const auto multiply = [&](const RowProduct<V>& product, int64_t t, Range active,
                              const T* bias, T* from, auto to) {
      product.run(
          active.size(), part(product.groups()), bias,
          [&](int64_t n) { return steps_.row(t, active.begin + n); },
          [&](int64_t b) { return row_in(from, b); }, to,
          [&] { return long_step && stop_.skip(member); });
    };
    if (stop_.meet(team, member, round)) return;
    for (int64_t t = 0; t < s_.T; ++t) {
      const Range active = this->active_rows(t, rows), mine = this->active_rows(t, own);
      this->wait_for_step(t);
      if (steps_.resets(t)) {
        restart(t, own);
        meet();
      }
      if (ahead_ && t % ahead_ == 0)
        this->project(team, member, t, rows, panels, blocks, by_rows, round);
      else if (this->stage_x_ && !ahead_)
        this->stage(t, by_rows ? active : this->share_of(active, team, member), t);
      if (l_.recurrent_dropout_masks)
        this->drop_hidden(t, by_rows ? active : this->share_of(active, team, member), parity);
      if (l_.recurrent_dropout_masks || (this->stage_x_ && !ahead_)) meet();
      const int64_t n = this->make_blocks(t, active, parity, blocks);
      for (int64_t p = panels.begin; p < panels.end && !(long_step && stop_.skip(member)); ++p)
        for (int64_t k = 0; k < n; ++k)
          with_rows<M>(blocks[k].rows,
                       [&](auto m) { into_gates<decltype(m)::count>(blocks[k], p, t); });
      meet();
      for (int64_t k = mine.begin; k < mine.end; ++k) gates_of(steps_.row(t, k), t);
      if (l_.output_transform) {
        meet();
        multiply(transform_, t, active, row_of_->output_bias, made_,
                 [&](int64_t b) { return inner_of(b, t); });
        meet();
        for (int64_t k = mine.begin; k < mine.end; ++k) {
          const int64_t b = steps_.row(t, k);
          way_out(b, inner_of(b, t));
        }
      }
      if (l_.projection) {
        meet();
        multiply(projection_, t, active, nullptr, outward_,
                 [&](int64_t b) { return projected_ + b * s_.hidden_padded; });
        meet();
      }
      for (int64_t k = mine.begin; k < mine.end; ++k) {
        const int64_t b = steps_.row(t, k);
        hidden(b, t, l_.projection ? projected_ + b * s_.hidden_padded : row_in(outward_, b));
      }
      if (steps_.masked()) repeat(t, own, mine);
      if (by_rows ? stop_.alone(member, round) : stop_.meet(team, member, round)) return;
      this->tell_of_step(t);
    }
    finish(own);
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

  int hidden_lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.H - p * L)); }
  T* h_at(int64_t b, int64_t p) const { return this->h_[0] + b * row_ + p * L; }

  const StagedCell<V, Real>* row_of_ = nullptr;
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
