// The forward pass.
//
// Units come in panels of L, the lanes of a vector. A tile is a few rows of the batch by the
// four gates of one panel: 4 vectors a row, so that gates, cell state and hidden state follow
// from the product without leaving the registers.
#pragma once

#include <cstring>

#include "kernels/activation.h"
#include "kernels/pack.h"
#include "kernels/shape.h"
#include "kernels/tile.h"
#include "steps.h"

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

  Forward(const conveyor_lstm& l, const conveyor_lstm_outputs& out)
      : l_(l), out_(out), s_(l, L), steps_(l, memory_), stop_(l.interrupted) {}

  int run() {
    if (s_.B == 0) return CONVEYOR_OK;
    plan();
    const double work = 4.0 * s_.B * s_.T * (s_.F + s_.U) * s_.padded;
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(l_, work);
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
          V::store(cell(p, b), V::template Io<State>::load(cell_state + b * s_.U + p * L, lanes(p)));
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
    run_team(threads_for(l_, work), task);
    ++steps_of_stream_;
  }

 private:
  // So many rows of weights times tiles of a panel take a fraction of a millisecond.
  static constexpr int64_t kLong = 1 << 16;

  // A few rows that are computed together.
  struct Block {
    int rows;
    int64_t b[M];
    const A* x[M];  // features; by gate: [F][4]
    const A* h[M];  // hidden state before the step; by gate: [U][4]
    A* h_after[M];
    const T* z[M];  // the projection of x, [P][4][L], where it is computed ahead
  };

  void plan() {
    const bool small = (s_.F + s_.U) * s_.padded * 4 * int64_t{sizeof(T)} <= (int64_t{1} << 19);
    small_ = small;
    // Where a step has too few rows to fill tiles, or the weights do not fit a cache together,
    // x W is computed for several steps at once.
    const int64_t weights = (s_.F + s_.U) * s_.padded * 4 * int64_t{sizeof(T)};
    const bool ahead = s_.T > 1 && s_.F > 0 && (s_.B < 2 * M || weights > (int64_t{20} << 20));
    const int64_t bytes = 4 * s_.padded * int64_t{sizeof(T)} * s_.B;
    ahead_ = ahead ? std::max<int64_t>(
                         1, std::min(s_.T, (int64_t{1} << 20) / std::max<int64_t>(1, bytes)))
                   : 0;
    if (ahead_ && s_.B * ahead_ < 4 * M) ahead_ = std::min<int64_t>(s_.T, 4 * M / s_.B + 1);

    f_ = Read::count(s_.F);
    u_ = Read::count(s_.U);
    row_ = s_.row() / V::kPair;
    kernel_ = memory_.take<A>(s_.P * f_ * 4 * L);
    recurrent_ = memory_.take<A>(s_.P * u_ * 4 * L);
    bias_ = memory_.take<T>(s_.P * 4 * L);
    for (auto& h : h_) h = memory_.take<A>(s_.B * row_);
    c_ = memory_.take<T>(s_.B * s_.padded);
    x_gates_ = l_.dropout_masks == 4 ? 4 : 1;
    h_gates_ = l_.recurrent_dropout_masks == 4 ? 4 : 1;
    // Rows of x are read where they are, unless they are not what a product reads.
    stage_x_ = l_.dropout_masks != 0 || !std::is_same<typename Read::Element, Real>::value ||
               s_.F % V::kPair != 0;
    const int64_t steps = std::max<int64_t>(1, ahead_);
    if (stage_x_) x_ = memory_.take<A>(steps * s_.B * f_ * x_gates_);
    if (l_.recurrent_dropout_masks) dropped_ = memory_.take<A>(s_.B * u_ * h_gates_);
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
    usual_ = std::is_same<T, float>::value && l_.activation == CONVEYOR_TANH &&
             l_.recurrent_activation == CONVEYOR_SIGMOID;
    for (void* state : out_.states)
      if (state) prefer_huge_pages(state, s_.B * s_.T * s_.U * sizeof(Real));
    if (out_.reserve)
      prefer_huge_pages(out_.reserve, conveyor_lstm_reserve_bytes(l_.dtype, s_.B, s_.T, s_.U));
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
    }
    finish(rows, panels, parity);
  }

  void compute(int64_t t, int64_t n, const Block* blocks, Range panels, int member) {
    if (s_.B == 1 && h_gates_ == 1 && n == 1) {
      // Every other step goes the other way: what the last one read last is still in the cache.
      const int64_t pairs = panels.size() / 2, odd = panels.begin + 2 * pairs;
      const bool up = (t + steps_of_stream_) % 2 == 0;
      if (!up && odd < panels.end) tile_of_panels<1>(blocks[0], odd, t, up);
      for (int64_t k = 0; k < pairs; ++k)
        tile_of_panels<2>(blocks[0], panels.begin + 2 * (up ? k : pairs - 1 - k), t, up);
      if (up && odd < panels.end) tile_of_panels<1>(blocks[0], odd, t, up);
      return;
    }
    if (small_ && !out_.reserve) {
      // Weights of all panels stay in the cache, so rows may stay in the registers' own.
      for (int64_t k = 0; k < n; ++k)
        with_rows<M>(blocks[k].rows, [&](auto m) {
          for (int64_t p = panels.begin; p < panels.end; ++p)
            tile<decltype(m)::count>(blocks[k], p, t);
        });
      return;
    }
    const bool long_step = n * (s_.F + s_.U) > kLong;
    for (int64_t p = panels.begin; p < panels.end && !(long_step && stop_.skip(member)); ++p)
      for (int64_t k = 0; k < n; ++k)
        with_rows<M>(blocks[k].rows, [&](auto m) { tile<decltype(m)::count>(blocks[k], p, t); });
  }

  static Range share_of(Range all, const Team& team, int member) {
    const Range part = share(all.size(), team.size(), member);
    return {all.begin + part.begin, all.begin + part.end};
  }

  // Packs weights and copies states, each member a part.
  void prepare(Team& team, int member) {
    const auto* kernel = static_cast<const Real*>(l_.kernel);
    const auto* recurrent = static_cast<const Real*>(l_.recurrent_kernel);
    const Range panels = share(s_.P, team.size(), member);
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      pack_panel<V>(kernel, s_.F, s_.U, p, kernel_ + p * f_ * 4 * L);
      pack_panel<V>(recurrent, s_.U, s_.U, p, recurrent_ + p * u_ * 4 * L);
      pack_bias<V>(static_cast<const Real*>(l_.bias), s_.U, p, bias_ + p * 4 * L);
    }
    const Range rows = share(s_.B, team.size(), member);
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      std::memset(h_[0] + b * row_, 0, row_ * sizeof(A));
      std::memset(h_[1] + b * row_, 0, row_ * sizeof(A));
      for (int64_t u = 0; l_.hidden_state && u < s_.U; ++u)
        Read::set(h_[0] + b * row_, u,
                   load_one(static_cast<const Real*>(l_.hidden_state) + b * s_.U + u));
      for (int64_t u = 0; u < s_.padded; ++u)
        *cell(u / L, b, u % L) =
            l_.cell_state && u < s_.U
                ? static_cast<T>(load_one(static_cast<const State*>(l_.cell_state) + b * s_.U + u))
                : T(0);
    }
  }

  T* cell(int64_t p, int64_t b, int64_t lane = 0) const { return c_ + (p * s_.B + b) * L + lane; }

  // The part of the rows that step t computes, as a range of its list.
  Range active_rows(int64_t t, Range rows) const {
    if (!steps_.masked()) return rows;
    const int64_t n = steps_.count(t);
    int64_t begin = 0;
    while (begin < n && steps_.row(t, begin) < rows.begin) ++begin;
    int64_t end = begin;
    while (end < n && steps_.row(t, end) < rows.end) ++end;
    return {begin, end};
  }

  const A* x_row(int64_t t, int64_t b, int64_t t0) const {
    if (stage_x_) return x_ + ((t - t0) * s_.B + b) * f_ * x_gates_;
    return reinterpret_cast<const A*>(static_cast<const Real*>(l_.x) +
                                      (b * s_.T + steps_.time(t)) * s_.F);
  }

  // Rows of x as the product reads them: converted, and with dropout.
  void stage(int64_t t, Range active, int64_t t0) {
    for (int64_t n = active.begin; n < active.end; ++n) {
      const int64_t b = steps_.row(t, n);
      const Real* from = static_cast<const Real*>(l_.x) + (b * s_.T + steps_.time(t)) * s_.F;
      A* to = x_ + ((t - t0) * s_.B + b) * f_ * x_gates_;
      apply_masks(from, static_cast<const Real*>(l_.dropout_mask), l_.dropout_masks, b, s_.F, to);
    }
  }

  template <class From>
  void apply_masks(const From* from, const Real* masks, int count, int64_t b, int64_t width,
                   A* to) const {
    constexpr int kPair = V::kPair;
    const int gates = count == 4 ? 4 : 1;
    if (width % kPair) std::memset(to + width / kPair * gates, 0, gates * sizeof(A));
    for (int64_t k = 0; k < width; ++k) {
      const T value = static_cast<T>(load_one(from + k));
      for (int g = 0; g < gates; ++g) {
        const T factor =
            count ? static_cast<T>(load_one(masks + (g * s_.B + b) * width + k)) : T(1);
        Read::set(to, (k / kPair * gates + g) * kPair + k % kPair, value * factor);
      }
    }
  }

  void drop_hidden(int64_t t, Range active, const uint8_t* parity) {
    for (int64_t n = active.begin; n < active.end; ++n) {
      const int64_t b = steps_.row(t, n);
      apply_masks(Read::elements(h_[parity[b]] + b * row_),
                  static_cast<const Real*>(l_.recurrent_dropout_mask), l_.recurrent_dropout_masks,
                  b, s_.U, dropped_ + b * u_ * h_gates_);
    }
  }

  // x W + b for the steps from t on, by tiles of rows of several steps.
  void project(Team& team, int member, int64_t t0, Range rows, Range panels, Block* blocks,
               bool by_rows, int64_t& round) {
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

  T* z_row(int64_t t, int64_t b) const { return z_ + ((t % ahead_) * s_.B + b) * s_.padded * 4; }

  template <int R>
  void project_tile(const Block& block, int64_t p) {
    reg acc[R][4];
    const A* rows[R];
    for (int m = 0; m < R; ++m) rows[m] = block.x[m];
    start<R>(acc, bias_ + p * 4 * L);
    add_masked_product<R>(acc, rows, kernel_ + p * f_ * 4 * L, f_, x_gates_);
    for (int m = 0; m < R; ++m)
      for (int g = 0; g < 4; ++g)
        V::store(const_cast<T*>(block.z[m]) + (p * 4 + g) * L, acc[m][g]);
  }

  // Tiles of nearly equal height: 32 rows are 6 6 5 5 5 5, not 6 6 6 6 6 2.
  int64_t make_blocks(int64_t t, Range active, const uint8_t* parity, Block* blocks) const {
    const int64_t n = (active.size() + M - 1) / M;
    for (int64_t k = 0; k < n; ++k) {
      const Range part = share(active.size(), n, k);
      Block& block = blocks[k];
      block.rows = static_cast<int>(part.size());
      for (int64_t r = 0; r < part.size(); ++r) {
        const int64_t b = steps_.row(t, active.begin + part.begin + r);
        block.b[r] = b;
        block.h[r] = dropped_ ? dropped_ + b * u_ * h_gates_ : h_[parity[b]] + b * row_;
        block.h_after[r] = h_[parity[b] ^ 1] + b * row_;
        if (ahead_)
          block.z[r] = z_row(t, b);
        else
          block.x[r] = x_row(t, b, t);
      }
    }
    return n;
  }

  template <int R>
  static inline __attribute__((always_inline)) void start(reg (&acc)[R][4], const T* bias) {
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) acc[m][g] = V::load(bias + g * L);
  }

  template <int R>
  static inline __attribute__((always_inline)) void load_rows(reg (&acc)[R][4],
                                                              const T* const (&z)[M], int64_t p) {
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) acc[m][g] = V::load(z[m] + (p * 4 + g) * L);
  }

  template <int R>
  static inline __attribute__((always_inline)) void add_masked_product(reg (&acc)[R][4],
                                                                const A* const (&rows)[R],
                                                                const A* w, int64_t K, int gates) {
    if (__builtin_expect(gates == 1, 1))
      accumulate<V, R, 4>(acc, rows, w, K);
    else
      accumulate_by_gate<V, R>(acc, rows, w, K);
  }

  template <int R>
  void tile(const Block& block, int64_t p, int64_t t) {
    reg acc[R][4];
    const A* rows[R];
    if (out_.states[CONVEYOR_HIDDEN_STATES])
      for (int m = 0; m < R; ++m)
        V::prefetch_write(real(CONVEYOR_HIDDEN_STATES) + at(block.b[m], t, p));
    for (int m = 0; m < R; ++m) rows[m] = block.h[m];
    const A* const recurrent = recurrent_ + p * u_ * 4 * L;
    if (x_gates_ == 1 && h_gates_ == 1) {
      reg z[R][4];
      if (ahead_) {
        load_rows<R>(z, block.z, p);
      } else {
        const A* x[R];
        for (int m = 0; m < R; ++m) x[m] = block.x[m];
        start<R>(z, bias_ + p * 4 * L);
        add_product<V, R, 4>(z, x, kernel_ + p * f_ * 4 * L, f_);
      }
      add_product<V, R, 4>(z, rows, recurrent, u_);
      copy<V, R, 4>(z, acc);
    } else {
      if (ahead_) {
        load_rows<R>(acc, block.z, p);
      } else {
        const A* x[R];
        for (int m = 0; m < R; ++m) x[m] = block.x[m];
        start<R>(acc, bias_ + p * 4 * L);
        add_masked_product<R>(acc, x, kernel_ + p * f_ * 4 * L, f_, x_gates_);
      }
      add_masked_product<R>(acc, rows, recurrent, u_, h_gates_);
    }
    constexpr int kGroup = R % 3 == 0 ? 3 : 2;
    int m = 0;
#pragma GCC unroll 1
    for (; m + kGroup <= R; m += kGroup) pointwise_of_rows<kGroup>(acc + m, block, m, p, t);
    if (m < R) pointwise_of_rows<R % kGroup ? R % kGroup : 1>(acc + m, block, m, p, t);
  }

  // One row by one or two panels, for a batch of one. The product is summed in two halves:
  // whichever comes first, their sum is the same. First comes the one whose hidden states were
  // not the last to be computed.
  template <int K>
  void tile_of_panels(const Block& block, int64_t first, int64_t t, bool up) {
    reg acc[K][4];
    int64_t b[K], panels[K];
    A* h_after[K];
    for (int n = 0; n < K; ++n) {
      const int k = up ? n : K - 1 - n;
      const int64_t p = first + k;
      reg z[1][4];
      start<1>(z, ahead_ ? block.z[0] + p * 4 * L : bias_ + p * 4 * L);
      if (!ahead_) {
        const A* x[1] = {block.x[0]};
        add_masked_product<1>(z, x, kernel_ + p * f_ * 4 * L, f_, x_gates_);
      }
      if (up)
        add_halves<true>(z[0], block.h[0], recurrent_ + p * u_ * 4 * L);
      else
        add_halves<false>(z[0], block.h[0], recurrent_ + p * u_ * 4 * L);
      for (int g = 0; g < 4; ++g) acc[k][g] = z[0][g];
      b[k] = block.b[0], panels[k] = p, h_after[k] = block.h_after[0];
    }
    pointwise<K>(acc, b, panels, h_after, t);
  }

  template <bool kLaterFirst>
  inline __attribute__((always_inline)) void add_halves(reg (&sum)[4], const A* row, const A* w) {
    const int64_t half = u_ / 2;
    reg early[1][4], late[1][4];
    clear<V, 1, 4>(early);
    clear<V, 1, 4>(late);
    const A* early_row[1] = {row};
    const A* late_row[1] = {row + half};
    if (kLaterFirst) accumulate<V, 1, 4>(late, late_row, w + half * 4 * L, u_ - half);
    accumulate<V, 1, 4>(early, early_row, w, half);
    if (!kLaterFirst) accumulate<V, 1, 4>(late, late_row, w + half * 4 * L, u_ - half);
    for (int g = 0; g < 4; ++g) sum[g] = V::add(sum[g], V::add(early[0][g], late[0][g]));
  }

  template <int K>
  inline __attribute__((always_inline)) void pointwise_of_rows(const reg (*from)[4],
                                                               const Block& block, int m, int64_t p,
                                                               int64_t t) {
    int64_t b[K], panels[K];
    A* h_after[K];
    for (int k = 0; k < K; ++k) b[k] = block.b[m + k], panels[k] = p, h_after[k] = block.h_after[m + k];
    pointwise<K>(from, b, panels, h_after, t);
  }

  // A few at a time: the chain from z to h is long, and they hide each other's waiting.
  template <int K>
  inline __attribute__((always_inline)) void pointwise(const reg (*from)[4], const int64_t (&rows)[K],
                                                       const int64_t (&panels)[K],
                                                       A* const (&h_after)[K], int64_t t) {
    using Act = Activation<V>;
    reg z[K][4], c[K], h[K];
#pragma GCC unroll 2
    for (int k = 0; k < K; ++k) {
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) z[k][g] = from[k][g];
      c[k] = V::load(cell(panels[k], rows[k]));
    }
    if (usual_) {
      if constexpr (Act::is_float) {
        if (any_gate_)
          Act::template long_step<K>(z, c, h);
        else
          Act::template short_step<K>(z, c, h);
      }
    } else {
      any_step<K>(z, c, h);
    }
    for (int k = 0; k < K; ++k) {
      const int64_t b = rows[k], p = panels[k];
      const int n = lanes(p);
      // Past the last unit z is x times zeros: NaN where x is infinite, and pairs read one of them.
      const reg rounded = Io::round(n == L ? h[k] : V::first(h[k], n));
      V::store(cell(p, b), c[k]);
      Read::store(h_after[k], p * L, rounded);
      const int64_t to = at(b, t, p);
      if (any_gate_) keep_gates(z[k], b, t, p, n);
      if (out_.states[CONVEYOR_HIDDEN_STATES])
        Io::store(real(CONVEYOR_HIDDEN_STATES) + to, rounded, n);
      if (out_.states[CONVEYOR_CELL_STATES]) Io::store(real(CONVEYOR_CELL_STATES) + to, c[k], n);
      if (cells_) V::template Io<State>::store(cells_ + reserved(b, t, p), c[k], L);
    }
  }

  template <int K>
  void any_step(reg (&z)[K][4], reg (&c)[K], reg (&h)[K]) const {
    using Act = Activation<V>;
    const int sigma = l_.recurrent_activation, phi = l_.activation;
    for (int k = 0; k < K; ++k) {
      for (int g = 0; g < 4; ++g)
        z[k][g] = Act::apply(g == CONVEYOR_CANDIDATE ? phi : sigma, z[k][g]);
      c[k] = V::fma(z[k][1], c[k], V::mul(z[k][0], z[k][2]));
      h[k] = V::mul(z[k][3], Act::apply(phi, c[k]));
    }
  }

  inline void keep_gates(const reg (&gates)[4], int64_t b, int64_t t, int64_t p, int n) {
    for (int k = 0; k < 4; ++k) {
      if (gates_) Io::store(gates_ + reserved(b, t, p) * 4 + k * L, gates[k], L);
      if (out_.states[CONVEYOR_INPUT_GATES + k])
        Io::store(real(CONVEYOR_INPUT_GATES + k) + at(b, t, p), gates[k], n);
    }
  }

  // A masked step repeats both states, and its gates are zero.
  void repeat(int64_t t, Range rows, Range panels, const uint8_t* parity) {
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

  void finish(Range rows, Range panels, const uint8_t* parity) {
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

  Real* real(int state) const { return static_cast<Real*>(out_.states[state]); }
  int64_t at(int64_t b, int64_t t, int64_t p) const { return (b * s_.T + t) * s_.U + p * L; }
  int64_t reserved(int64_t b, int64_t t, int64_t p) const {
    return ((t * s_.P + p) * s_.B + b) * L;
  }
  int lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.U - p * L)); }

  const conveyor_lstm& l_;
  const conveyor_lstm_outputs& out_;
  const Shape s_;
  Workspace memory_;
  const Steps steps_;
  Stop stop_;

  bool small_ = false, stage_x_ = false, any_gate_ = false, usual_ = false;
  int64_t blocks_per_member_ = 0, steps_of_stream_ = 0;
  int64_t ahead_ = 0;  // steps whose x W is computed together; 0: each with its own step
  int x_gates_ = 1, h_gates_ = 1;
  int64_t f_ = 0, u_ = 0, row_ = 0;  // in A: features, units, a row of hidden states
  A *kernel_ = nullptr, *recurrent_ = nullptr, *h_[2] = {}, *x_ = nullptr, *dropped_ = nullptr;
  T *bias_ = nullptr, *c_ = nullptr, *z_ = nullptr;
  Block* blocks_ = nullptr;
  uint8_t* parity_ = nullptr;
  Real* gates_ = nullptr;
  State* cells_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
