// The backward pass.
//
// Time goes backwards in chunks. Within a chunk, step by step: dh = dz R^T of the step after,
// in tiles of a few rows by up to 4 panels of units, then dz of these units from the registers.
// After it: dx = dz W^T, and [x h' 1]^T dz added to the gradients of kernel, recurrent kernel
// and bias, as large products over all rows of the chunk.
#pragma once

#include "kernels/operand.h"
#include "kernels/pack.h"
#include "kernels/shape.h"
#include "kernels/variant.h"
#include "steps.h"
#include "wavefront.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
class Backward {
 public:
  using T = typename V::T;
  using reg = typename V::reg;
  using A = typename V::A;
  using Read = Operand<V>;
  using Io = typename V::template Io<Real>;
  using StateIo = typename V::template Io<State>;
  static constexpr int L = V::L;
  static constexpr int M = V::kRows;
  static constexpr int kPair = V::kPair;
  static constexpr int N = V::kColumns;  // vectors of a tile of dh and dx

  Backward(const conveyor_lstm& l, const conveyor_lstm_gradients& g, const Wavefront& wave)
      : l_(l), g_(g), wave_(wave), s_(l, L), variant_(l), steps_(l, memory_),
        stop_(l.interrupted) {}

  int run() {
    plan();
    const double work = 8.0 * s_.B * s_.T * (s_.F + s_.U) * s_.padded;
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(l_.threads, work);
    if (!splits_rows(threads))
      threads = threads_for_steps(threads, 1.0 * s_.B * s_.U * width_);
    run_team(threads, task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

 protected:
  void plan() {
    width_ = s_.padded * 4;  // of a row of dz: [P][4][L]
    // Where all dz of a row lie side by side, rows must not share cache sets.
    stride_ = width_ % 256 ? width_ : width_ + 16;
    tiles_ = (s_.HP + N - 1) / N;
    x_tiles_ = (s_.F + int64_t{N} * L - 1) / (int64_t{N} * L);
    inputs_ = s_.F + s_.H + 1;
    // A row of [x h' 1]; six lanes may be read past it.
    input_row_ = ((inputs_ + more_inputs_ + M + 15) / 16 * 16) | 16;
    wants_weights_ = g_.d_kernel || g_.d_recurrent_kernel || g_.d_bias || more_inputs_;
    wants_x_ = g_.d_x || g_.d_dropout_mask;
    usual_ = variant_.nothing && !g_.d_states[CONVEYOR_CELL_STATES];
    for (int gate = CONVEYOR_INPUT_GATES; gate <= CONVEYOR_OUTPUT_GATES; ++gate)
      usual_ &= !g_.d_states[gate];
    // dz of a chunk, and what it is multiplied with, should stay in the second-level cache.
    const int64_t bytes = (width_ + input_row_) * int64_t{sizeof(T)};
    const int64_t rows =
        std::max<int64_t>(512, (int64_t{3} << 19) / std::max<int64_t>(1, bytes));
    chunk_ = std::max<int64_t>(1, std::min(s_.T, rows / std::max<int64_t>(1, s_.B)));
    chunk_rows_ = chunk_ * s_.B;

    stride_ /= kPair;
    read_width_ = width_ / kPair;
    recurrent_ = memory_.take<A>(tiles_ * read_width_ * N * L);
    if (wants_x_) kernel_ = memory_.take<A>(x_tiles_ * read_width_ * N * L);
    for (auto& dz : last_) dz = memory_.take<A>(s_.B * stride_);
    dz_ = memory_.take<A>(s_.P * chunk_rows_ * kDz);
    dc_ = memory_.take<T>(s_.B * s_.padded);
    dh_ = memory_.take<T>(s_.B * s_.hidden_padded);
    if (wants_weights_) {
      input_ = memory_.take<A>(gates_at_once_ * (paired_rows() * input_row_ + 16));
      products_ = kPair == 1 ? dz_ : memory_.take<A>(s_.P * paired_rows() * 4 * L);
      weights_ = memory_.take<T>(s_.P * (inputs_ + M) * 4 * L);
    }
    if (steps_.resets_to_start()) {
      dh_start_ = zeros(s_.B * s_.hidden_padded);
      dc_start_ = zeros(s_.B * s_.padded);
    }
    if (g_.d_dropout_mask) d_dropout_ = zeros(l_.dropout_masks * s_.B * s_.F);
    if (g_.d_recurrent_dropout_mask)
      d_recurrent_ = zeros(l_.recurrent_dropout_masks * s_.B * s_.hidden_padded);
    if (l_.peephole) {
      peephole_ = memory_.take<T>(s_.P * 3 * L);
      for (int64_t p = 0; p < s_.P; ++p)
        pack_vectors<V, 3>(static_cast<const Real*>(l_.peephole), s_.U, p, peephole_ + p * 3 * L);
    }
    if (g_.d_peephole) d_peephole_ = zeros(s_.P * 3 * L);
    const int most = l_.threads ? l_.threads : conveyor_threads();
    local_bytes_ = 2 * s_.B;
    local_ = memory_.take<uint8_t>(most * local_bytes_);
    if (s_.B && s_.T) {
      gates_ = static_cast<const Real*>(g_.reserve);
      cells_ =
          reinterpret_cast<const State*>(gates_ + s_.T * s_.B * ((s_.U + 15) / 16 * 16) * 4);
    }
    if (g_.d_x) prefer_huge_pages(g_.d_x, s_.B * s_.T * s_.F * sizeof(Real));
  }

  T* zeros(int64_t n) {
    T* array = memory_.take<T>(n);
    std::fill(array, array + n, T(0));
    return array;
  }

  // Rows times units beyond which a step may take longer than a person waits.
  static constexpr int64_t kLong = 1 << 20;

  static constexpr int kDz = 4 * L / kPair;  // A of a row of dz in one panel
  // Rows of a chunk as [x h' 1]^T dz sums over them.
  int64_t paired_rows() const { return (chunk_rows_ + kPair - 1) / kPair; }

  bool by_gate() const { return l_.dropout_masks == 4 || l_.recurrent_dropout_masks == 4; }

  // What each member keeps for itself of a row.
  struct Local {
    uint8_t* parity;  // which of last_ holds the dz of the next step that counts
    uint8_t* pending; // 1: dh_ holds something; 2: last_ does too
  };
  enum { kHolds = 1, kFollows = 2 };

  bool splits_rows(int threads) const {
    const bool small = s_.H * width_ * int64_t{sizeof(T)} <= (int64_t{1} << 19);
    return threads == 1 || (small && s_.B >= 2 * M * threads);
  }

  void work_on(Team& team, int member) {
    const bool by_rows = splits_rows(team.size());
    const Range rows = by_rows ? share(s_.B, team.size(), member) : Range{0, s_.B};
    const Range tiles = by_rows ? Range{0, tiles_} : share(tiles_, team.size(), member);
    Local local{local_ + member * local_bytes_, local_ + member * local_bytes_ + s_.B};
    int64_t round = 0;
    prepare(team, member, local);
    if (stop_.meet(team, member, round)) return;
    for (int64_t end = s_.T; end > 0; end -= chunk_) {
      const int64_t begin = std::max<int64_t>(0, end - chunk_);
      int64_t told = end;
      for (int64_t t = end - 1; t >= begin; --t) {
        wait_for_gradient(t);
        step(t, end, rows, tiles, local, member);
        if (by_rows ? stop_.alone(member, round) : stop_.meet(team, member, round)) break;
        if (steps_.resets(t)) restart(t, rows, tiles, local);
        if (ends_turn(t, begin)) {
          input_gradient(t, told, end, team, member);
          if (wave_.own) wave_.own->reach(s_.T - t);
          told = t;
        }
      }
      if (wants_weights_) gather(begin, end, 0, team, member);
      if (stop_.meet(team, member, round)) return;
      if (kPair > 1 && wants_weights_) {
        pair_rows(steps_.before(end) - steps_.before(begin), share(s_.P, team.size(), member));
        team.barrier();
      }
      if (d_peephole_) peephole_gradient(begin, end, team, member);
      if (wants_x_) input_gradient(begin, told, end, team, member);
      if (wants_weights_) weight_gradient(begin, end, team, member);
      if (stop_.meet(team, member, round)) return;
    }
    finish(rows, tiles, local);
    if (wants_weights_ && steps_.before(s_.T) == 0) write_no_weights(team, member);
    team.barrier();
    if (member == 0) write_sums();
  }

  // In a stack: until the gradient of the hidden state after step t is there.
  void wait_for_gradient(int64_t t) const {
    if (wave_.before) wave_.before->wait_for(l_.go_backwards ? s_.T : s_.T - t);
  }
  // Whether dx down to step t is computed before the chunk is done: the layer below waits for it,
  // and the lowest does it instead of waiting for the one above.
  bool ends_turn(int64_t t, int64_t begin) const {
    return wave_.any() && wants_x_ && (t == begin || (s_.T - t) % turn(s_.B, s_.T) == 0);
  }

  struct Block {
    int rows;
    bool follows;  // a later step of these rows counted: there is dz R^T to add
    int64_t b[M];
    int64_t in_chunk[M];  // row of dz_
  };

  int64_t chunk_row(int64_t t, int64_t end) const {
    return steps_.before(end) - steps_.before(t + 1);
  }

  // A row of a chunk: its step and its row of the batch.
  struct Place {
    int64_t t, b;
  };

  // Finds the places of the rows of a chunk, in order.
  class Walk {
   public:
    Walk(const Steps& steps, int64_t end, int64_t row) : steps_(steps), t_(end - 1), k_(row) {}
    Place next() {
      while (k_ >= steps_.count(t_)) k_ -= steps_.count(t_--);
      return {t_, steps_.row(t_, k_++)};
    }

   private:
    const Steps& steps_;
    int64_t t_, k_;
  };

  // In backward_step.h.
  void step(int64_t t, int64_t end, Range rows, Range tiles, Local local, int member);
  template <int R>
  void tile(const Block& block, int64_t n, int64_t t, Local local);
  template <int R, bool kUsual>
  void pointwise_of_tile(const reg (&dh)[R][N], const Block& block, int64_t n, int64_t t,
                         int panels, Local local);
  void psis(reg (&psi)[N], int64_t b, int64_t p, int64_t t, int panels) const;
  template <int R>
  void recurrent_product(reg (&dh)[R][N], const Block& block, int64_t n, int64_t t, Local local);
  template <int R>
  void scale_hidden(reg (&from)[R][N], reg (&to)[R][N], const Block& block, int64_t n, int64_t t,
                    int g);
  reg hidden(int64_t b, int64_t t, int64_t p) const;
  const Real* hidden_before(int64_t b, int64_t t) const;
  reg cell_before(int64_t b, int64_t t, int64_t p) const;
  void usual_pointwise(reg dh, reg tanh_c, int64_t b, int64_t in_chunk, int64_t p, int64_t t,
                       bool holds, A* last);
  void keep_dz(const reg (&dz)[4], int64_t in_chunk, int64_t p, int n, A* last);
  reg arriving(int state, reg d, int64_t b, int64_t t, int64_t p, int n) const;
  void pass(int64_t t, Range rows, Range tiles, Local local);
  void restart(int64_t t, Range rows, Range tiles, Local local);
  void finish(Range rows, Range tiles, Local local);
  void arrived_at(reg (&dh)[N], int64_t b, int64_t n, Local local);

  // In backward_general.h.
  struct Gates {
    reg z[4], y[4];  // z only where the forward pass kept it
  };
  Gates gates(int64_t b, int64_t t, int64_t p) const;
  reg cell_made(const Gates& gates, int64_t b, int64_t t, int64_t p) const;
  reg slope(const Gates& gates, int k) const;
  void general_pointwise(reg dh, reg psi_c, int64_t b, int64_t in_chunk, int64_t p, int64_t t,
                         bool holds, A* last);
  void peephole_gradient(int64_t begin, int64_t end, const Team& team, int member);

  // In backward_gather.h.
  static constexpr int64_t kAhead = 4;  // rows that gather fetches ahead
  void prepare(Team& team, int member, Local local);
  void gather(int64_t begin, int64_t end, int first_gate, Team& team, int member);
  void prefetch_row(int64_t b, int64_t t) const;
  void put_input(int n, int64_t row, int64_t k, reg value, int lanes);
  void pair_rows(int64_t rows, Range panels);
  void gather_row(int64_t b, int64_t t, int g, int n, int64_t row);
  void copy_row(const Real* from, int64_t width, const Real* masks, int count, int64_t b, int g,
                int place, int64_t row, int64_t first);

  // In backward_products.h.
  void input_gradient(int64_t begin, int64_t end, int64_t chunk_end, Team& team, int member);
  void zero_masked(int64_t t, Team& team, int member, bool alone);
  template <int R>
  void input_tile(const Place* places, int64_t row, int64_t n);
  template <int R, int W>
  void input_tile_of(const Place* places, int64_t row, int64_t n);
  template <int R, int W>
  void accumulate_wide(reg (&acc)[R][W], const A* const (&rows)[R], const A* w, int64_t K);
  reg scale_input(reg dx, int64_t b, int64_t t, int g, int64_t f);
  void weight_gradient(int64_t begin, int64_t end, Team& team, int member);
  void weight_product(reg (&sum)[M][4], const A* a, const A* dz, int64_t K);
  void weight_product_by_gate(reg (&acc)[M][4], int64_t row, const A* dz, int64_t K);
  void weight_gradient_of_gate(int g, Range part, int64_t blocks, int64_t K, bool first, bool last,
                               int member);
  template <int W>
  void weight_products_of_gate(int g, int64_t p, int64_t row, int64_t K, bool first, bool last);
  void write_weights(const reg (&sum)[4], int64_t row, int64_t p) const;
  void write_weights_of_gate(int g, reg sum, int64_t row, int64_t p) const;
  void write_no_weights(const Team& team, int member) const;
  void write_sums();

  int64_t at(int64_t b, int64_t t, int64_t p) const { return (b * s_.T + t) * s_.U + p * L; }
  int hidden_lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.H - p * L)); }
  int lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.U - p * L)); }

  const conveyor_lstm& l_;
  const conveyor_lstm_gradients& g_;
  const Wavefront wave_;
  const Shape s_;
  const Variant<V> variant_;
  Workspace memory_;
  const Steps steps_;
  Stop stop_;

  int64_t width_ = 0, stride_ = 0, tiles_ = 0, x_tiles_ = 0, inputs_ = 0, input_row_ = 0;
  int64_t more_inputs_ = 0;  // columns of input_ that are not of [x h' 1]
  int gates_at_once_ = 1;  // whose rows input_ holds, where each gate has its own
  int64_t chunk_ = 1, chunk_rows_ = 0, local_bytes_ = 0;
  bool wants_weights_ = false, wants_x_ = false, usual_ = false;
  int64_t read_width_ = 0;  // width_ in A
  A *recurrent_ = nullptr, *kernel_ = nullptr, *last_[2] = {}, *dz_ = nullptr;
  A *input_ = nullptr, *products_ = nullptr;  // [x h' 1], and dz, of a chunk: what is multiplied
  T *dc_ = nullptr, *dh_ = nullptr, *weights_ = nullptr;
  T *d_dropout_ = nullptr, *d_recurrent_ = nullptr;
  T *peephole_ = nullptr, *d_peephole_ = nullptr;
  T *dh_start_ = nullptr, *dc_start_ = nullptr;  // of rows that began anew there
  uint8_t* local_ = nullptr;
  const Real* gates_ = nullptr;
  const State* cells_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor

#include "kernels/backward_gather.h"
#include "kernels/backward_general.h"
#include "kernels/backward_products.h"
#include "kernels/backward_step.h"
