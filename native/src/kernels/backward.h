// The backward pass.
//
// Time goes backwards in chunks. Within a chunk, step by step: dh = dz R^T of the step after,
// in tiles of a few rows by up to 4 panels of units, then dz of these units from the registers.
// After it: dx = dz W^T, and [x h' 1]^T dz added to the gradients of kernel, recurrent kernel
// and bias, as large products over all rows of the chunk.
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

  Backward(const conveyor_lstm& l, const conveyor_lstm_gradients& g)
      : l_(l), g_(g), s_(l, L), steps_(l, memory_), stop_(l.interrupted) {}

  int run() {
    plan();
    const double work = 8.0 * s_.B * s_.T * (s_.F + s_.U) * s_.padded;
    auto task = [this](Team& team, int member) { work_on(team, member); };
    int threads = threads_for(l_, work);
    if (!splits_rows(threads))
      threads = threads_for_steps(threads, 1.0 * s_.B * s_.U * width_);
    run_team(threads, task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

 private:
  void plan() {
    width_ = s_.padded * 4;  // of a row of dz: [P][4][L]
    // Where all dz of a row lie side by side, rows must not share cache sets.
    stride_ = width_ % 256 ? width_ : width_ + 16;
    tiles_ = (s_.P + N - 1) / N;
    x_tiles_ = (s_.F + int64_t{N} * L - 1) / (int64_t{N} * L);
    inputs_ = s_.F + s_.U + 1;
    // A row of [x h' 1]; six lanes may be read past it.
    input_row_ = ((inputs_ + M + 15) / 16 * 16) | 16;
    wants_weights_ = g_.d_kernel || g_.d_recurrent_kernel || g_.d_bias;
    wants_x_ = g_.d_x || g_.d_dropout_mask;
    usual_ = l_.activation == CONVEYOR_TANH && l_.recurrent_activation == CONVEYOR_SIGMOID &&
             !g_.d_states[CONVEYOR_CELL_STATES];
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
    dh_ = memory_.take<T>(s_.B * s_.padded);
    if (wants_weights_) {
      const int gates = by_gate() ? 4 : 1;
      input_ = memory_.take<A>(gates * (paired_rows() * input_row_ + 16));
      products_ = kPair == 1 ? dz_ : memory_.take<A>(s_.P * paired_rows() * 4 * L);
      weights_ = memory_.take<T>(s_.P * (inputs_ + M) * 4 * L);
    }
    const auto zeros = [this](int64_t n) {
      T* array = memory_.take<T>(n);
      std::fill(array, array + n, T(0));
      return array;
    };
    if (g_.d_dropout_mask) d_dropout_ = zeros(l_.dropout_masks * s_.B * s_.F);
    if (g_.d_recurrent_dropout_mask)
      d_recurrent_ = zeros(l_.recurrent_dropout_masks * s_.B * s_.padded);
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
    const bool small = s_.U * width_ * int64_t{sizeof(T)} <= (int64_t{1} << 19);
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
      for (int64_t t = end - 1; t >= begin; --t) {
        step(t, end, rows, tiles, local, member);
        if (by_rows ? stop_.alone(member, round) : stop_.meet(team, member, round)) break;
      }
      if (wants_weights_) gather(begin, end, team, member);
      if (stop_.meet(team, member, round)) return;
      if (kPair > 1 && wants_weights_) {
        pair_rows(steps_.before(end) - steps_.before(begin), share(s_.P, team.size(), member));
        team.barrier();
      }
      if (wants_x_) input_gradient(begin, end, team, member);
      if (wants_weights_) weight_gradient(begin, end, team, member);
      if (stop_.meet(team, member, round)) return;
    }
    finish(rows, tiles, local);
    if (wants_weights_ && steps_.before(s_.T) == 0) write_no_weights(team, member);
    team.barrier();
    if (member == 0) write_masks();
  }

  void prepare(Team& team, int member, Local local) {
    const auto* recurrent = static_cast<const Real*>(l_.recurrent_kernel);
    const auto* kernel = static_cast<const Real*>(l_.kernel);
    const Range panels = share(s_.P, team.size(), member);
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      for (int64_t n = 0; n < tiles_; ++n)
        pack_transposed<V>(recurrent, s_.U, s_.U, n * N * L, N, p, recurrent_ + n * read_width_ * N * L);
      for (int64_t n = 0; wants_x_ && n < x_tiles_; ++n)
        pack_transposed<V>(kernel, s_.F, s_.U, n * N * L, N, p, kernel_ + n * read_width_ * N * L);
    }
    const Range rows = share(s_.B, team.size(), member);
    const auto* dh = static_cast<const Real*>(g_.d_states[CONVEYOR_HIDDEN_STATE]);
    const auto* dc = static_cast<const Real*>(g_.d_states[CONVEYOR_CELL_STATE]);
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      for (int64_t p = 0; p < s_.P; ++p) {
        V::store(dh_ + (p * s_.B + b) * L,
                 dh ? Io::load(dh + b * s_.U + p * L, lanes(p)) : V::zero());
        V::store(dc_ + (p * s_.B + b) * L,
                 dc ? Io::load(dc + b * s_.U + p * L, lanes(p)) : V::zero());
      }
    }
    std::memset(local.parity, 0, s_.B);
    std::memset(local.pending, dh ? kHolds : 0, s_.B);
  }

  struct Block {
    int rows;
    bool follows;  // a later step of these rows counted: there is dz R^T to add
    int64_t b[M];
    int64_t in_chunk[M];  // row of dz_
  };

  void step(int64_t t, int64_t end, Range rows, Range tiles, Local local, int member) {
    const int64_t n = steps_.count(t);
    int64_t begin = 0, stop = n;
    while (begin < n && steps_.row(t, begin) < rows.begin) ++begin;
    while (stop > begin && steps_.row(t, stop - 1) >= rows.end) --stop;
    // Rows of the chunk are numbered from its last step on.
    const int64_t first = chunk_row(t, end);
    const bool long_step = rows.size() * width_ > kLong;
    for (int64_t k = begin; k < stop && !(long_step && stop_.skip(member));) {
      Block block;
      block.rows = 0;
      const int64_t left = stop - k, count = (left + M - 1) / M;
      const int64_t wanted = (left + count - 1) / count;
      block.follows = local.pending[steps_.row(t, k)] & kFollows;
      while (k < stop && block.rows < wanted) {
        const int64_t b = steps_.row(t, k);
        if (bool(local.pending[b] & kFollows) != block.follows) break;
        block.b[block.rows] = b;
        block.in_chunk[block.rows++] = first + k;
        ++k;
      }
      with_rows<M>(block.rows, [&](auto m) {
        for (int64_t n = tiles.begin; n < tiles.end; ++n)
          tile<decltype(m)::count>(block, n, t, local);
      });
    }
    if (steps_.masked()) pass(t, rows, tiles, local);
    for (int64_t k = begin; k < stop; ++k) {
      const int64_t b = steps_.row(t, k);
      local.parity[b] ^= 1;
      local.pending[b] = kFollows;
    }
  }

  int64_t chunk_row(int64_t t, int64_t end) const { return steps_.before(end) - steps_.before(t + 1); }

  template <int R>
  void tile(const Block& block, int64_t n, int64_t t, Local local) {
    reg dh[R][N];
    clear<V, R, N>(dh);
    const int panels = static_cast<int>(std::min<int64_t>(N, s_.P - n * N));
    // What the forward pass kept comes from memory; the product hides the way.
    for (int m = 0; m < R; ++m) {
      for (int v = 0; v < panels; ++v) {
        const int64_t kept = ((t * s_.P + n * N + v) * s_.B + block.b[m]) * L;
        for (int k = 0; k < 4; ++k) V::prefetch(gates_ + kept * 4 + k * L);
        V::prefetch(cells_ + kept - (t > 0 ? s_.P * s_.B * L : 0));
        if (g_.d_states[CONVEYOR_HIDDEN_STATES])
          V::prefetch(static_cast<const Real*>(g_.d_states[CONVEYOR_HIDDEN_STATES]) +
                      at(block.b[m], t, n * N + v));
      }
    }
    if (block.follows) recurrent_product<R>(dh, block, n, t, local);
    if (usual_)
      pointwise_of_tile<R, true>(dh, block, n, t, panels, local);
    else
      pointwise_of_tile<R, false>(dh, block, n, t, panels, local);
  }

  template <int R, bool kUsual>
  void pointwise_of_tile(const reg (&dh)[R][N], const Block& block, int64_t n, int64_t t,
                         int panels, Local local) {
#pragma GCC unroll 1
    for (int m = 0; m < R; ++m) {
      reg phi[N];
      phis(phi, block.b[m], n * N, t, panels);
      const bool holds = local.pending[block.b[m]] & kHolds;
      A* const last = last_[local.parity[block.b[m]] ^ 1] + block.b[m] * stride_;
#pragma GCC unroll 1
      for (int v = 0; v < panels; ++v)
        pointwise<kUsual>(dh[m][v], phi[v], block.b[m], block.in_chunk[m], n * N + v, t, holds,
                          last);
    }
  }

  // phi(c) of some panels of a row.
  void phis(reg (&phi)[N], int64_t b, int64_t p, int64_t t, int panels) const {
    using Act = Activation<V>;
    for (int v = 0; v < N; ++v)
      phi[v] = v < panels ? StateIo::load(cells_ + ((t * s_.P + p + v) * s_.B + b) * L, L)
                          : V::zero();
    if constexpr (Act::is_float) {
      if (l_.activation == CONVEYOR_TANH) return Act::template tanhs<N>(phi, phi);
    }
    for (int v = 0; v < N; ++v) phi[v] = Act::apply(l_.activation, phi[v]);
  }

  // dz of the step after, times R^T, with the factors of the recurrent dropout.
  template <int R>
  void recurrent_product(reg (&dh)[R][N], const Block& block, int64_t n, int64_t t, Local local) {
    const A* rows[R];
    for (int m = 0; m < R; ++m) rows[m] = last_[local.parity[block.b[m]]] + block.b[m] * stride_;
    const A* w = recurrent_ + n * read_width_ * N * L;
    if (l_.recurrent_dropout_masks != 4) {
      accumulate<V, R, N>(dh, rows, w, read_width_);
      if (l_.recurrent_dropout_masks) scale_hidden<R>(dh, dh, block, n, t, 0);
      return;
    }
    for (int g = 0; g < 4; ++g) {
      reg one[R][N];
      clear<V, R, N>(one);
      const A* part[R];
      for (int64_t p = 0; p < s_.P; ++p) {
        const int64_t at = (p * 4 + g) * L / kPair;
        for (int m = 0; m < R; ++m) part[m] = rows[m] + at;
        accumulate<V, R, N>(one, part, w + at * N * L, L / kPair);
      }
      scale_hidden<R>(one, one, block, n, t, g);
      for (int m = 0; m < R; ++m)
        for (int v = 0; v < N; ++v) dh[m][v] = V::add(dh[m][v], one[m][v]);
    }
  }

  // Times the dropout mask; and its own gradient, the product times h before the step after.
  template <int R>
  void scale_hidden(reg (&from)[R][N], reg (&to)[R][N], const Block& block, int64_t n, int64_t t,
                    int g) {
    const auto* masks = static_cast<const Real*>(l_.recurrent_dropout_mask);
    auto* d_masks = static_cast<Real*>(g_.d_recurrent_dropout_mask);
    for (int m = 0; m < R; ++m) {
      for (int v = 0; v < N && n * N + v < s_.P; ++v) {
        const int64_t p = n * N + v;
        const int64_t at = (g * s_.B + block.b[m]) * s_.U + p * L;
        if (d_masks) {
          T* sum = d_recurrent_ + ((g * s_.B + block.b[m]) * s_.P + p) * L;
          V::store(sum, V::fma(from[m][v], hidden(block.b[m], t, p), V::load(sum)));
        }
        to[m][v] = V::mul(from[m][v], Io::load(masks + at, lanes(p)));
      }
    }
  }

  // The hidden state after step t; before the first step for t = -1.
  reg hidden(int64_t b, int64_t t, int64_t p) const {
    if (t >= 0)
      return Io::load(static_cast<const Real*>(g_.hidden_states) + at(b, t, p), lanes(p));
    if (!l_.hidden_state) return V::zero();
    return Io::load(static_cast<const Real*>(l_.hidden_state) + b * s_.U + p * L, lanes(p));
  }

  // kUsual: the usual activations, and no gradient arrives but at hidden states.
  template <bool kUsual>
  inline __attribute__((always_inline)) void pointwise(reg dh, reg phi_c, int64_t b,
                                                       int64_t in_chunk, int64_t p, int64_t t,
                                                       bool holds, A* last) {
    using Act = Activation<V>;
    const int sigma = kUsual ? CONVEYOR_SIGMOID : l_.recurrent_activation;
    const int phi = kUsual ? CONVEYOR_TANH : l_.activation;
    const int n = lanes(p);
    const auto add_arriving = [&](int state, reg d) {
      return kUsual ? d : arriving(state, d, b, t, p, n);
    };
    if (holds) dh = V::add(dh, V::load(dh_ + (p * s_.B + b) * L));
    dh = arriving(CONVEYOR_HIDDEN_STATES, dh, b, t, p, n);
    T* dc_at = dc_ + (p * s_.B + b) * L;
    const reg dc = add_arriving(CONVEYOR_CELL_STATES, V::load(dc_at));

    const int64_t kept = ((t * s_.P + p) * s_.B + b) * L;
    const Real* gates = gates_ + kept * 4;
    const reg i = Io::load(gates, L), f = Io::load(gates + L, L), g = Io::load(gates + 2 * L, L),
              o = Io::load(gates + 3 * L, L);
    reg before;
    if (t > 0)
      before = StateIo::load(cells_ + ((((t - 1) * s_.P + p) * s_.B + b) * L), L);
    else if (l_.cell_state)
      before = StateIo::load(static_cast<const State*>(l_.cell_state) + b * s_.U + p * L, n);
    else
      before = V::zero();

    const reg through = V::fma(V::mul(dh, o), Act::slope(phi, phi_c), dc);
    const reg d[4] = {add_arriving(CONVEYOR_INPUT_GATES, V::mul(through, g)),
                      add_arriving(CONVEYOR_FORGET_GATES, V::mul(through, before)),
                      add_arriving(CONVEYOR_CANDIDATES, V::mul(through, i)),
                      add_arriving(CONVEYOR_OUTPUT_GATES, V::mul(dh, phi_c))};
    V::store(dc_at, V::mul(through, f));
    const reg dz[4] = {V::mul(d[0], Act::slope(sigma, i)), V::mul(d[1], Act::slope(sigma, f)),
                       V::mul(d[2], Act::slope(phi, g)), V::mul(d[3], Act::slope(sigma, o))};
    A* chunk = dz_ + (p * chunk_rows_ + in_chunk) * kDz;
    for (int k = 0; k < 4; ++k) {
      const reg value = n == L ? dz[k] : V::first(dz[k], n);
      Read::store(chunk, k * L, value);
      Read::store(last, (p * 4 + k) * L, value);
    }
  }

  inline reg arriving(int state, reg d, int64_t b, int64_t t, int64_t p, int n) const {
    if (!g_.d_states[state]) return d;
    return V::add(d, Io::load(static_cast<const Real*>(g_.d_states[state]) + at(b, t, p), n));
  }

  // Past a masked step both gradients go unchanged, and what arrives at its states is added.
  void pass(int64_t t, Range rows, Range tiles, Local local) {
    const int64_t n = steps_.count(t);
    int64_t k = 0;
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      while (k < n && steps_.row(t, k) < b) ++k;
      if (k < n && steps_.row(t, k) == b) continue;
      const bool holds = local.pending[b] & kHolds;
      for (int64_t p = tiles.begin * N; p < std::min(s_.P, tiles.end * N); ++p) {
        T* dh = dh_ + (p * s_.B + b) * L;
        T* dc = dc_ + (p * s_.B + b) * L;
        V::store(dh, arriving(CONVEYOR_HIDDEN_STATES, holds ? V::load(dh) : V::zero(), b, t, p,
                              lanes(p)));
        V::store(dc, arriving(CONVEYOR_CELL_STATES, V::load(dc), b, t, p, lanes(p)));
      }
      local.pending[b] |= kHolds;
    }
  }

  // Rows of [x h' 1] for the chunk, each member a part.
  void gather(int64_t begin, int64_t end, Team& team, int member) {
    const int gates = by_gate() ? 4 : 1;
    for (int64_t t = end - 1; t >= begin; --t) {
      const Range part = share(steps_.count(t), team.size(), member);
      const int64_t first = chunk_row(t, end);
      for (int64_t k = part.begin; k < part.end; ++k) {
        const int64_t b = steps_.row(t, k);
        // Rows lie in a page each, and no processor foresees that.
        if (k + kAhead < part.end) prefetch_row(steps_.row(t, k + kAhead), t);
        for (int g = 0; g < gates; ++g)
          gather_row(b, t, g, first + k);
      }
    }
    const int64_t rows = steps_.before(end) - steps_.before(begin);
    if (rows % kPair && member == 0)
      for (int g = 0; g < gates; ++g)
        for (int64_t k = 0; k < input_row_; k += L) put_input(g, rows, k, V::zero(), L);
  }

  static constexpr int64_t kAhead = 4;
  void prefetch_row(int64_t b, int64_t t) const {
    constexpr int64_t kLine = 64 / sizeof(Real);
    const Real* x = static_cast<const Real*>(l_.x) + (b * s_.T + steps_.time(t)) * s_.F;
    for (int64_t k = 0; k < std::min(s_.F, 16 * kLine); k += kLine) V::prefetch(x + k);
    if (t == 0) return;
    const Real* h = static_cast<const Real*>(g_.hidden_states) + (b * s_.T + t - 1) * s_.U;
    for (int64_t k = 0; k < std::min(s_.U, 16 * kLine); k += kLine) V::prefetch(h + k);
  }

  // `lanes` inputs of a row of the chunk from the k-th on.
  void put_input(int g, int64_t row, int64_t k, reg value, int lanes) {
    A* to = input_ + (g * paired_rows() + row / kPair) * input_row_ + k;
    if constexpr (kPair == 1)
      V::store_n(to, value, lanes);
    else
      V::store_half(to, value, row % kPair, lanes);
  }

  // dz as pairs of rows of the chunk.
  void pair_rows(int64_t rows, Range panels) {
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

  void gather_row(int64_t b, int64_t t, int g, int64_t row) {
    const Real* x = static_cast<const Real*>(l_.x) + (b * s_.T + steps_.time(t)) * s_.F;
    const Real* h = t > 0 ? static_cast<const Real*>(g_.hidden_states) + (b * s_.T + t - 1) * s_.U
                          : l_.hidden_state
                              ? static_cast<const Real*>(l_.hidden_state) + b * s_.U
                              : nullptr;
    copy_row(x, s_.F, static_cast<const Real*>(l_.dropout_mask), l_.dropout_masks, b, g, row, 0);
    copy_row(h, s_.U, static_cast<const Real*>(l_.recurrent_dropout_mask),
             l_.recurrent_dropout_masks, b, g, row, s_.F);
    for (int64_t k = s_.F + s_.U; k < input_row_; k += L)
      put_input(g, row, k, k == s_.F + s_.U ? V::first(V::set1(1), 1) : V::zero(),
                static_cast<int>(std::min<int64_t>(L, input_row_ - k)));
  }

  void copy_row(const Real* from, int64_t width, const Real* masks, int count, int64_t b, int g,
                int64_t row, int64_t first) {
    if (count) masks += ((count == 4 ? g * s_.B : 0) + b) * width;
    for (int64_t k = 0; k < width; k += L) {
      const int n = static_cast<int>(std::min<int64_t>(L, width - k));
      reg value = from ? Io::load(from + k, n) : V::zero();
      if (count) value = V::mul(value, Io::load(masks + k, n));
      put_input(g, row, first + k, value, n);
    }
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

  void input_gradient(int64_t begin, int64_t end, Team& team, int member) {
    // A mask's own gradient sums over time: one member does all then.
    const bool alone = g_.d_dropout_mask != nullptr;
    if (alone && member) return;
    if (steps_.masked() && g_.d_x)
      for (int64_t t = begin; t < end; ++t) zero_masked(t, team, member, alone);
    const int64_t K = steps_.before(end) - steps_.before(begin);
    const Range rows = alone ? Range{0, K} : share(K, team.size(), member);
    const int64_t blocks = (rows.size() + M - 1) / M;
    for (int64_t n = 0; n < x_tiles_; ++n) {
      Walk walk(steps_, end, rows.begin);
      for (int64_t k = 0; k < blocks && !(k % 16 == 0 && stop_.skip(member)); ++k) {
        const Range r = share(rows.size(), blocks, k);
        Place places[M];
        for (int64_t m = 0; m < r.size(); ++m) places[m] = walk.next();
        with_rows<M>(static_cast<int>(r.size()), [&](auto m) {
          input_tile<decltype(m)::count>(places, rows.begin + r.begin, n);
        });
      }
    }
  }

  void zero_masked(int64_t t, Team& team, int member, bool alone) {
    const Range rows = alone ? Range{0, s_.B} : share(s_.B, team.size(), member);
    const int64_t time = steps_.time(t);
    for (int64_t b = rows.begin; b < rows.end; ++b)
      if (!l_.mask[b * s_.T + time])
        std::memset(static_cast<Real*>(g_.d_x) + (b * s_.T + time) * s_.F, 0,
                    s_.F * sizeof(Real));
  }

  template <int R>
  void input_tile(const Place* places, int64_t row, int64_t n) {
    // A narrow last tile computes only the vectors that it needs.
    const int64_t vectors = std::min<int64_t>(N, (s_.F - n * N * L + L - 1) / L);
    if (vectors <= N / 4)
      input_tile_of<R, (N >= 4 ? N / 4 : 1)>(places, row, n);
    else if (vectors <= N / 2)
      input_tile_of<R, (N >= 2 ? N / 2 : 1)>(places, row, n);
    else
      input_tile_of<R, N>(places, row, n);
  }

  template <int R, int W>
  void input_tile_of(const Place* places, int64_t row, int64_t n) {
    reg dx[R][W];
    clear<V, R, W>(dx);
    const A* w = kernel_ + n * read_width_ * N * L;
    const int masks = l_.dropout_masks;
    for (int g = 0; g < (masks == 4 ? 4 : 1); ++g) {
      reg one[R][W];
      clear<V, R, W>(one);
      for (int64_t p = 0; p < s_.P; ++p) {
        const A* rows[R];
        const int64_t at = masks == 4 ? g * L / kPair : 0;
        for (int m = 0; m < R; ++m)
          rows[m] = dz_ + (p * chunk_rows_ + row + m) * kDz + at;
        accumulate_wide<R, W>(one, rows, w + (p * kDz + at) * N * L, masks == 4 ? L / kPair : kDz);
      }
      for (int m = 0; m < R; ++m) {
        for (int v = 0; v < W; ++v) {
          if (masks)
            one[m][v] = scale_input(one[m][v], places[m].b, places[m].t, g, (n * N + v) * L);
          dx[m][v] = V::add(dx[m][v], one[m][v]);
        }
      }
    }
    if (!g_.d_x) return;
    for (int m = 0; m < R; ++m) {
      Real* to = static_cast<Real*>(g_.d_x) +
                 (places[m].b * s_.T + steps_.time(places[m].t)) * s_.F;
      for (int v = 0; v < W; ++v) {
        const int64_t f = (n * N + v) * L;
        if (f < s_.F)
          Io::store(to + f, dx[m][v], static_cast<int>(std::min<int64_t>(L, s_.F - f)));
      }
    }
  }

  // As accumulate, of W of the N vectors that w holds a row.
  template <int R, int W>
  inline __attribute__((always_inline)) void accumulate_wide(reg (&acc)[R][W],
                                                             const A* const (&rows)[R],
                                                             const A* w, int64_t K) {
    if constexpr (W == N) {
      accumulate<V, R, N>(acc, rows, w, K);
    } else {
      for (int64_t k = 0; k < K; ++k, w += N * L) {
#pragma GCC unroll 8
        for (int v = 0; v < W; ++v) {
          const reg column = V::weights(w + v * L);
#pragma GCC unroll 8
          for (int m = 0; m < R; ++m) acc[m][v] = V::dot(V::broadcast(rows[m] + k), column, acc[m][v]);
        }
      }
    }
  }

  reg scale_input(reg dx, int64_t b, int64_t t, int g, int64_t f) {
    if (f >= s_.F) return dx;
    const int n = static_cast<int>(std::min<int64_t>(L, s_.F - f));
    const int64_t at = ((l_.dropout_masks == 4 ? g * s_.B : 0) + b) * s_.F + f;
    if (g_.d_dropout_mask) {
      const Real* x = static_cast<const Real*>(l_.x) + (b * s_.T + steps_.time(t)) * s_.F + f;
      T* sum = d_dropout_ + at;
      V::store_n(sum, V::fma(dx, Io::load(x, n), V::load_n(sum, n)), n);
    }
    return V::mul(dx, Io::load(static_cast<const Real*>(l_.dropout_mask) + at, n));
  }

  // [x h' 1]^T dz of the chunk, added; panel by panel, so that members never share a sum.
  void weight_gradient(int64_t begin, int64_t end, Team& team, int member) {
    const int64_t K = (steps_.before(end) - steps_.before(begin) + kPair - 1) / kPair;
    if (K == 0) return;
    // Between chunks sums are kept as tiles have them; the last one writes the gradients.
    const bool first = steps_.before(s_.T) == steps_.before(end), last = steps_.before(begin) == 0;
    const int64_t blocks = (inputs_ + M - 1) / M;
    const Range part = share(s_.P * blocks, team.size(), member);
    for (int64_t n = part.begin; n < part.end && !stop_.skip(member); ++n) {
      const int64_t p = n / blocks, row = n % blocks * M;
      const A* dz = products_ + p * paired_rows() * 4 * L;
      T* sum = weights_ + (p * (inputs_ + M) + row) * 4 * L;
      reg acc[M][4];
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
        for (int g = 0; g < 4; ++g) acc[m][g] = first ? V::zero() : V::load(sum + (m * 4 + g) * L);
      if (by_gate())
        weight_product_by_gate(acc, row, dz, K);
      else
        weight_product(acc, input_ + row, dz, K);
      if (last) {
        for (int m = 0; m < M && row + m < inputs_; ++m) write_weights(acc[m], row + m, p);
        continue;
      }
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
        for (int g = 0; g < 4; ++g) V::store(sum + (m * 4 + g) * L, acc[m][g]);
    }
  }

  void weight_product(reg (&sum)[M][4], const A* a, const A* dz, int64_t K) {
    reg acc[M][4];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) acc[m][g] = sum[m][g];
    for (int64_t k = 0; k < K; ++k, a += input_row_, dz += 4 * L) {
      reg column[4];
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) column[g] = V::weights(dz + g * L);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const reg value = V::broadcast(a + m);
#pragma GCC unroll 8
        for (int g = 0; g < 4; ++g) acc[m][g] = V::dot(value, column[g], acc[m][g]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int g = 0; g < 4; ++g) sum[m][g] = acc[m][g];
  }

  void weight_product_by_gate(reg (&acc)[M][4], int64_t row, const A* dz, int64_t K) {
    for (int g = 0; g < 4; ++g) {
      const A* a = input_ + g * paired_rows() * input_row_ + row;
      for (int64_t k = 0; k < K; ++k, a += input_row_) {
        const reg column = V::weights(dz + (k * 4 + g) * L);
        for (int m = 0; m < M; ++m) acc[m][g] = V::dot(V::broadcast(a + m), column, acc[m][g]);
      }
    }
  }

  // What is left before the first step.
  void finish(Range rows, Range tiles, Local local) {
    auto* dh0 = static_cast<Real*>(g_.d_hidden_state);
    auto* dc0 = static_cast<State*>(g_.d_cell_state);
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      for (int64_t n = tiles.begin; n < tiles.end; ++n) {
        reg dh[1][N];
        clear<V, 1, N>(dh);
        Block block{1, true, {b}, {0}};
        if ((dh0 || g_.d_recurrent_dropout_mask) && (local.pending[b] & kFollows))
          recurrent_product<1>(dh, block, n, -1, local);
        for (int v = 0; v < N && n * N + v < s_.P; ++v) {
          const int64_t p = n * N + v;
          if (local.pending[b] & kHolds)
            dh[0][v] = V::add(dh[0][v], V::load(dh_ + (p * s_.B + b) * L));
          if (dh0) Io::store(dh0 + b * s_.U + p * L, dh[0][v], lanes(p));
          if (dc0)
            StateIo::store(dc0 + b * s_.U + p * L, V::load(dc_ + (p * s_.B + b) * L), lanes(p));
        }
      }
    }
  }

  // The gradients of one input's weights to the units of a panel, in Keras's order.
  void write_weights(const reg (&sum)[4], int64_t row, int64_t p) const {
    void* to = row < s_.F ? g_.d_kernel : row < s_.F + s_.U ? g_.d_recurrent_kernel : g_.d_bias;
    if (!to) return;
    const int64_t first = row < s_.F ? row : row < s_.F + s_.U ? row - s_.F : 0;
    for (int g = 0; g < 4; ++g)
      Io::store(static_cast<Real*>(to) + (first * 4 + g) * s_.U + p * L, sum[g], lanes(p));
  }

  // Where no step counted.
  void write_no_weights(const Team& team, int member) const {
    reg zeros[1][4];
    clear<V, 1, 4>(zeros);
    const Range part = share(inputs_, team.size(), member);
    for (int64_t row = part.begin; row < part.end; ++row)
      for (int64_t p = 0; p < s_.P; ++p) write_weights(zeros[0], row, p);
  }

  void write_masks() {
    if (d_dropout_)
      for (int64_t k = 0; k < l_.dropout_masks * s_.B * s_.F; ++k)
        store(static_cast<Real*>(g_.d_dropout_mask) + k, d_dropout_[k]);
    if (d_recurrent_)
      for (int64_t r = 0; r < l_.recurrent_dropout_masks * s_.B; ++r)
        for (int64_t u = 0; u < s_.U; ++u)
          store(static_cast<Real*>(g_.d_recurrent_dropout_mask) + r * s_.U + u,
                d_recurrent_[r * s_.padded + u]);
  }

  int64_t at(int64_t b, int64_t t, int64_t p) const { return (b * s_.T + t) * s_.U + p * L; }
  int lanes(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, s_.U - p * L)); }

  const conveyor_lstm& l_;
  const conveyor_lstm_gradients& g_;
  const Shape s_;
  Workspace memory_;
  const Steps steps_;
  Stop stop_;

  int64_t width_ = 0, stride_ = 0, tiles_ = 0, x_tiles_ = 0, inputs_ = 0, input_row_ = 0;
  int64_t chunk_ = 1, chunk_rows_ = 0, local_bytes_ = 0;
  bool wants_weights_ = false, wants_x_ = false, usual_ = false;
  int64_t read_width_ = 0;  // width_ in A
  A *recurrent_ = nullptr, *kernel_ = nullptr, *last_[2] = {}, *dz_ = nullptr;
  A *input_ = nullptr, *products_ = nullptr;  // [x h' 1], and dz, of a chunk: what is multiplied
  T *dc_ = nullptr, *dh_ = nullptr, *weights_ = nullptr;
  T *d_dropout_ = nullptr, *d_recurrent_ = nullptr;
  uint8_t* local_ = nullptr;
  const Real* gates_ = nullptr;
  const State* cells_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
