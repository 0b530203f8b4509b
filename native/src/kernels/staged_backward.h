// The backward pass of a request in stages: those of staged_forward.h the other way.
//
//     dz            -> dh            a product: dz R^T of the step after
//                   -> d(o psi P)    row by row
//                   -> d(o psi)      a product with P^T, where there is one
//     z, c'         -> do, d psi's   row by row, the gates computed anew
//                   -> dc            a product with W5^T, where there is one
//                   -> dz            row by row
#pragma once

#include "kernels/backward.h"
#include "kernels/row_product.h"
#include "kernels/staged_cell.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
class StagedBackward : private Backward<V, Real, State> {
  using Base = Backward<V, Real, State>;
  using typename Base::A;
  using typename Base::Io;
  using typename Base::Local;
  using typename Base::T;
  using typename Base::reg;
  using Base::dc_;
  using Base::dh_;
  using Base::g_;
  using Base::hidden_lanes;
  using Base::input_row_;
  using Base::kDz;
  using Base::kFollows;
  using Base::kHolds;
  using Base::L;
  using Base::l_;
  using Base::lanes;
  using Base::M;
  using Base::memory_;
  using Base::N;
  using Base::s_;
  using Base::steps_;
  using Base::stop_;
  using Base::variant_;
  static_assert(std::is_same<A, T>::value && std::is_same<State, T>::value, "one type of numbers");
  static_assert(N == 4, "groups of columns are as wide as a panel of four gates");

 public:
  StagedBackward(const conveyor_lstm& l, const conveyor_lstm_gradients& g, const Wavefront& wave)
      : Base(l, g, wave) {}

  int run() {
    const bool transform = g_.d_output_kernel, projection = g_.d_projection_kernel;
    // Beside [x h' 1] in a row of inputs: c as W5 reads it, o * psi() as P does.
    if (transform || projection)
      this->more_inputs_ = (transform ? s_.padded : 0) + (projection ? s_.padded : 0) + M;
    // weight_gradient() gathers one gate after the other; outer_product() wants all of them.
    if (this->by_gate() && l_.layer_norm == CONVEYOR_JOINT) this->gates_at_once_ = 4;
    this->plan();
    const StagedCell<V, Real> row(l_, s_, variant_, memory_);
    row_of_ = &row;
    inner_at_ = input_row_ - this->more_inputs_;
    outward_at_ = inner_at_ + (transform ? s_.padded : 0);
    plan_stages();
    const double more = 1.0 * s_.B * (transform_.multiply_adds() + projection_.multiply_adds());
    const double work = s_.T * (8.0 * s_.B * (s_.F + s_.H) * s_.padded + 2 * more);
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(l_.threads, work);
    if (!this->splits_rows(threads))
      threads = threads_for_steps(threads, 1.0 * s_.B * s_.H * this->width_ + more);
    run_team(threads, task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

 private:
  // What the second half of a step reads of a panel: gates and slopes.
  enum { kI, kF, kG, kSlopeI, kSlopeF, kSlopeG, kO, kSlopeO, kOfStep };
  using Left = typename StagedCell<V, Real>::Left;
  using OfCell = typename Norm<V, 1>::Row;
  // Sums over all steps of a row, of so many vectors a panel.
  struct Sums {
    T* rows = nullptr;
    int vectors = 0;
  };

  void plan_stages() {
    kept_ = KeptInStages<T>(l_, const_cast<void*>(g_.reserve));
    if (l_.output_transform) transform_.plan(memory_, s_.U, s_.U);
    if (l_.projection) projection_.plan(memory_, s_.H, s_.U);
    const bool joint = row_of_->joint;
    units_row_ = s_.padded % 256 ? s_.padded : s_.padded + 16;
    hidden_row_ = s_.row();
    gates_row_ = 4 * s_.padded;
    flags_ = memory_.template take<uint8_t>(s_.B);
    d_hidden_ = memory_.template take<T>(s_.B * hidden_row_);
    if (l_.projection) d_outward_ = memory_.template take<T>(s_.B * units_row_);
    d_inner_ = memory_.template take<T>(s_.B * units_row_);
    if (l_.output_transform) d_cell_ = memory_.template take<T>(s_.B * units_row_);
    // Between the halves of a step: of all rows where a product comes between, else of one.
    const int64_t most = l_.threads ? l_.threads : conveyor_threads();
    const int64_t places = l_.output_transform ? s_.B : most;
    of_step_ = memory_.template take<T>(places * kOfStep * s_.padded);
    left_ = memory_.template take<Left>(places);
    made_ = memory_.template take<T>(places * s_.padded);
    of_cell_ = memory_.template take<OfCell>(places);
    if (l_.layer_norm) dz_now_ = memory_.template take<T>(most * gates_row_);
    const int64_t rows = this->chunk_rows_;
    if (joint) dz_h_ = memory_.template take<T>(s_.P * rows * kDz);
    if (joint) sums_h_ = memory_.template take<T>(s_.P * (s_.H + M) * kDz);
    const int64_t groups = (s_.P + N - 1) / N, hidden_groups = (s_.HP + N - 1) / N;
    if (g_.d_output_kernel) {
      d_inner_chunk_ = memory_.template take<T>(groups * rows * kDz);
      sums_transform_ = memory_.template take<T>(groups * (s_.U + M) * kDz);
    }
    if (g_.d_projection_kernel) {
      d_hidden_chunk_ = memory_.template take<T>(hidden_groups * rows * kDz);
      sums_projection_ = memory_.template take<T>(hidden_groups * (s_.U + M) * kDz);
    }
    const auto sums = [&](Sums& to, const void* wanted, int vectors) {
      if (wanted) to = {this->zeros(s_.B * s_.P * vectors * L), vectors};
    };
    sums(of_peephole_, g_.d_peephole, 3);
    sums(of_bias_, l_.layer_norm ? g_.d_bias : nullptr, 4);
    sums(of_scale_, g_.d_gate_scale, 4);
    sums(of_x_scale_, joint ? g_.d_gate_scale : nullptr, 4);
    sums(of_cell_scale_, g_.d_cell_scale, 1);
    sums(of_cell_shift_, g_.d_cell_shift, 1);
    sums(of_output_bias_, g_.d_output_bias, 1);
  }

  void work_on(Team& team, int member) {
    const bool by_rows = this->splits_rows(team.size());
    const int size = team.size();
    // The rows that this member owns; and its part of a product, those or some of the columns.
    const Range own = share(s_.B, size, member);
    const Range rows = by_rows ? own : Range{0, s_.B};
    const auto part = [&](int64_t n) { return by_rows ? Range{0, n} : share(n, size, member); };
    uint8_t* const of_member = this->local_ + member * this->local_bytes_;
    this->prepare(team, member, Local{of_member, of_member + s_.B});
    if (l_.output_transform)
      transform_.pack_transposed(static_cast<const Real*>(l_.output_kernel),
                                 share(transform_.groups(), size, member));
    if (l_.projection)
      projection_.pack_transposed(static_cast<const Real*>(l_.projection_kernel),
                                  share(projection_.groups(), size, member));
    for (int64_t b = own.begin; b < own.end; ++b)
      flags_[b] = g_.d_states[CONVEYOR_HIDDEN_STATE] ? kHolds : 0;
    // dz of the step after has one place, so that parity stays what it is.
    const Local local{of_member, flags_};
    const bool long_step = rows.size() * this->width_ > Base::kLong;
    const auto meet = [&] {
      if (!by_rows) team.barrier();
    };
    int64_t round = 0;
    if (stop_.meet(team, member, round)) return;
    for (int64_t end = s_.T; end > 0; end -= this->chunk_) {
      const int64_t begin = std::max<int64_t>(0, end - this->chunk_);
      int64_t told = end;
      for (int64_t t = end - 1; t >= begin; --t) {
        this->wait_for_gradient(t);
        const Range active = active_rows(t, rows), mine = active_rows(t, own);
        const int64_t first = this->chunk_row(t, end);
        const auto each = [&](auto run) {
          for (int64_t k = mine.begin; k < mine.end; ++k) run(steps_.row(t, k), first + k);
        };
        const auto multiply = [&](const RowProduct<V>& product, const T* from, int64_t from_row,
                                  T* to) {
          meet();
          product.run(
              active.size(), part(product.groups()), nullptr,
              [&](int64_t n) { return steps_.row(t, active.begin + n); },
              [&](int64_t b) { return from + b * from_row; },
              [&](int64_t b) { return to + b * units_row_; },
              [&] { return long_step && stop_.skip(member); });
          meet();
        };
        recurrent(t, active, part(this->tiles_), local, long_step, member);
        meet();
        each([&](int64_t b, int64_t in_chunk) { arrive(b, in_chunk, t); });
        if (l_.projection) multiply(projection_, d_hidden_, hidden_row_, d_outward_);
        if (l_.output_transform) {
          each([&](int64_t b, int64_t in_chunk) { first_half(b, in_chunk, t, b); });
          multiply(transform_, d_inner_, units_row_, d_cell_);
          each([&](int64_t b, int64_t in_chunk) { second_half(b, in_chunk, t, b, member); });
        } else {
          each([&](int64_t b, int64_t in_chunk) {
            first_half(b, in_chunk, t, member);
            second_half(b, in_chunk, t, member, member);
          });
        }
        if (steps_.masked()) pass(t, own, mine);
        each([&](int64_t b, int64_t) {
          flags_[b] = variant_.hidden_zoneout ? kFollows | kHolds : kFollows;
        });
        if (by_rows ? stop_.alone(member, round) : stop_.meet(team, member, round)) break;
        if (steps_.resets(t)) {
          restart(t, own, local);
          meet();
        }
        if (this->ends_turn(t, begin)) {
          this->input_gradient(t, told, end, team, member);
          if (this->wave_.own) this->wave_.own->reach(s_.T - t);
          told = t;
        }
      }
      if (this->wants_weights_) this->gather(begin, end, 0, team, member);
      if (stop_.meet(team, member, round)) return;
      if (this->wants_x_) this->input_gradient(begin, told, end, team, member);
      if (this->wants_weights_) products(begin, end, team, member);
      if (stop_.meet(team, member, round)) return;
    }
    finish(own, local);
    if (this->wants_weights_ && steps_.before(s_.T) == 0) write_no_products(team, member);
    team.barrier();
    write_row_sums(share(s_.P, size, member));
    team.barrier();
    if (member == 0) this->write_sums();
  }

  Range active_rows(int64_t t, Range rows) const {
    if (!steps_.masked()) return rows;
    int64_t begin = 0, end = steps_.count(t);
    while (begin < end && steps_.row(t, begin) < rows.begin) ++begin;
    while (end > begin && steps_.row(t, end - 1) >= rows.end) --end;
    return {begin, end};
  }

  // In staged_backward_rows.h.
  void recurrent(int64_t t, Range active, Range tiles, Local local, bool long_step, int member);
  void fetch(int64_t b, int64_t t, Range panels) const;
  void arrive(int64_t b, int64_t in_chunk, int64_t t);
  void first_half(int64_t b, int64_t in_chunk, int64_t t, int64_t place);
  void second_half(int64_t b, int64_t in_chunk, int64_t t, int64_t place, int member);
  void gates_norm_back(int64_t b, int64_t in_chunk, const Left& left, const T* dz);
  reg cell_before(int64_t b, int64_t t, int64_t p) const;
  reg arriving_hidden(reg d, int64_t b, int64_t t, int64_t p) const;

  // In staged_backward_states.h.
  void pass(int64_t t, Range own, Range mine);
  void restart(int64_t t, Range own, Local local);
  void finish(Range own, Local local);

  // In staged_backward_sums.h.
  void add(const Sums& sums, int64_t b, int64_t p, int k, reg value) const;
  void products(int64_t begin, int64_t end, Team& team, int member);
  template <class Write>
  void outer_product(int64_t begin, int64_t end, int64_t first, int64_t count, const T* d,
                     int64_t groups, T* sums, bool by_gate, const Team& team, int member,
                     Write write);
  void write_transform(const reg (&sum)[4], int64_t row, int64_t group) const;
  void write_projection(const reg (&sum)[4], int64_t row, int64_t group) const;
  void write_no_products(const Team& team, int member) const;
  void write_row_sums(Range panels);

  const StagedCell<V, Real>* row_of_ = nullptr;
  RowProduct<V> transform_, projection_;
  KeptInStages<T> kept_;
  int64_t units_row_ = 0, hidden_row_ = 0, gates_row_ = 0, inner_at_ = 0, outward_at_ = 0;
  uint8_t* flags_ = nullptr;  // `pending` of Local, one for all members
  // Of each row: d of h without what zoneout keeps, of o * psi(), of psi's argument, and that
  // times W5^T.
  T *d_hidden_ = nullptr, *d_outward_ = nullptr, *d_inner_ = nullptr, *d_cell_ = nullptr;
  T *of_step_ = nullptr, *made_ = nullptr;  // made_: the cell state before zoneout
  T* dz_now_ = nullptr;                     // of one row, for each member: after the normalisation
  Left* left_ = nullptr;
  OfCell* of_cell_ = nullptr;
  // Of the chunk, as products over its rows read them, and their sums.
  // Of two dz (CONVEYOR_JOINT), dz_ is that of x and dz_h_ that of h'.
  T *dz_h_ = nullptr, *d_inner_chunk_ = nullptr, *d_hidden_chunk_ = nullptr;
  T *sums_h_ = nullptr, *sums_transform_ = nullptr, *sums_projection_ = nullptr;
  Sums of_peephole_, of_bias_, of_scale_, of_x_scale_, of_cell_scale_, of_cell_shift_,
      of_output_bias_;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor

#include "kernels/staged_backward_rows.h"
#include "kernels/staged_backward_states.h"
#include "kernels/staged_backward_sums.h"
