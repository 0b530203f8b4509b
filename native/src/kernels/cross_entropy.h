// Cross entropies of a linear layer, and the gradients of their sum.
//
// A chunk of rows at a time: its logits for all classes; the log of the sum of their exponentials;
// then their gradients d in place, and with them d^T x, added to the gradient of the kernel, and
// d K, that of the rows. For products that sum over pairs, d lies there twice: paired over classes
// in place of the logits, and for a block at a time paired over rows.
#pragma once

#include "kernels/linear.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real>
class CrossEntropy : Linear<V, Real> {
  using Base = Linear<V, Real>;
  using typename Base::A;
  using typename Base::Io;
  using typename Base::Read;
  using typename Base::reg;
  using typename Base::T;
  using Base::A_, Base::L, Base::M, Base::N, Base::kPair, Base::kWide, Base::l_, Base::memory_,
      Base::stop_, Base::V_, Base::stride_, Base::chunk_, Base::block_, Base::blocks_,
      Base::log_totals_;

 public:
  CrossEntropy(const conveyor_linear& l, const conveyor_cross_entropy& c) : Base(l), c_(c) {}

  int run() {
    index_ = memory_.template take<int32_t>(l_.rows + kWide);
    for (int64_t n = 0; n < l_.rows; ++n)
      if (c_.labels[n] != c_.ignored) index_[rows_++] = static_cast<int32_t>(n);
    const bool gradients = c_.d_x || c_.d_kernel || c_.d_bias;
    plan(gradients);
    const double work = (1.0 + !!c_.d_x + !!c_.d_kernel) * rows_ * V_ * (A_ + 16);
    auto task = [this](Team& team, int member) { work_on(team, member); };
    run_team(threads_for(l_.threads, work), task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

 private:
  // Classes whose weights, in rows of `kWide`, a member multiplies d with at a time.
  static constexpr int64_t kPanel = 192;
  static constexpr bool kPlain = std::is_same<Real, float>::value;

  void plan(bool gradients) {
    // What is multiplied with should stay in the second-level cache, and the logits of a chunk
    // somewhere near.
    const int64_t by_width = (int64_t{1} << 19) / (int64_t{4} * A_);
    const int64_t by_classes = (int64_t{64} << 20) / (int64_t{4} * V_);
    const int64_t most = std::min<int64_t>(256, std::min(by_width, by_classes));
    Base::plan(rows_, std::max<int64_t>(kWide, most / kWide * kWide));
    wide_ = (A_ + kWide - 1) / kWide;
    labels_ = memory_.template take<T>(chunk_);
    if (c_.label_smoothing > 0) sums_ = memory_.template take<T>(blocks_ * chunk_);
    keeps_ = gradients;
    const int64_t classes = (V_ + kPair - 1) / kPair * kPair;
    logits_ = memory_.template take<T>((gradients ? classes : Base::most_ * block_) * stride_);
    if (!gradients) return;
    if (kPair > 1) paired_ = memory_.template take<A>(Base::most_ * block_ * stride_ / kPair);
    if (c_.d_bias) bias_sums_ = memory_.template take<T>(V_ * L);
    if (c_.d_kernel) along_ = memory_.template take<A>(wide_ * kWide * chunk_ / kPair);
    if (c_.d_kernel && !kPlain) kernel_sums_ = memory_.template take<T>(V_ * A_);
    if (c_.d_kernel && kPlain) kernel_sums_ = static_cast<T*>(c_.d_kernel);
    if (c_.d_x) {
      panels_ = memory_.template take<A>(Base::most_ * kPanel / kPair * kWide);
      x_sums_ = memory_.template take<T>(wide_ * kWide * (chunk_ + M));
    }
    prefer_huge_pages(c_.d_kernel, V_ * A_ * int64_t{sizeof(Real)});
  }

  void work_on(Team& team, int member) {
    ignored_rows(team, member);
    const Range blocks = share(blocks_, team.size(), member);
    int64_t round = 0;
    for (int64_t begin = 0; begin < rows_; begin += chunk_) {
      const Chunk chunk{index_ + begin, std::min(chunk_, rows_ - begin), begin == 0,
                        begin + chunk_ >= rows_};
      pack(chunk, team, member);
      if (stop_.meet(team, member, round)) return;
      for (int64_t b = blocks.begin; b < blocks.end && !stop_.skip(member); ++b)
        logits_of(chunk, b, member);
      if (stop_.meet(team, member, round)) return;
      finish_rows(chunk, team, member);
      if (stop_.meet(team, member, round)) return;
      if (!keeps_) continue;
      for (int64_t b = blocks.begin; b < blocks.end && !stop_.skip(member); ++b)
        gradients_of(chunk, b, member);
      if (stop_.meet(team, member, round)) return;
      if (c_.d_x) input_gradient(chunk, team, member);
    }
  }

  struct Chunk {
    const int32_t* index;  // which rows they are
    int64_t rows;
    bool first, last;
  };

  // Zeros for what the rows that count do not write.
  void ignored_rows(const Team& team, int member) const {
    const Range rows = share(l_.rows, team.size(), member);
    for (int64_t n = rows.begin; n < rows.end; ++n) {
      if (c_.labels[n] != c_.ignored) continue;
      if (c_.losses) store(c_.losses + n, 0);
      if (c_.cross_entropies) store(c_.cross_entropies + n, 0);
      if (c_.d_x) std::memset(static_cast<Real*>(c_.d_x) + n * A_, 0, A_ * sizeof(Real));
    }
    if (rows_ > 0) return;
    const Range classes = share(V_, team.size(), member);
    if (c_.d_kernel)
      std::memset(static_cast<Real*>(c_.d_kernel) + classes.begin * A_, 0,
                  classes.size() * A_ * sizeof(Real));
    if (c_.d_bias) std::memset(c_.d_bias + classes.begin, 0, classes.size() * sizeof(float));
  }

  void pack(const Chunk& chunk, const Team& team, int member) {
    const int64_t tiles = (chunk.rows + kWide - 1) / kWide;
    const Range part = share(tiles, team.size(), member);
    Base::pack_across(chunk.index, chunk.rows, part);
    if (!along_) return;
    const Real* x = static_cast<const Real*>(l_.x);
    for (int64_t n = 0; n < wide_; ++n) {
      Base::with_width((A_ - n * kWide + L - 1) / L, [&](auto w) {
        constexpr int W = decltype(w)::count;
        const int64_t end = std::min(chunk.rows, part.end * kWide);
        for (int64_t r = part.begin * kWide; r < end; r += kPair) {
          A* to = along_ + n * kWide * chunk_ / kPair + r / kPair * W * L;
          for (int v = 0; v < W; ++v) {
            const int64_t a = n * kWide + v * L;
            const int lanes = static_cast<int>(std::max<int64_t>(0, std::min<int64_t>(L, A_ - a)));
            put_pair(to + v * L, lanes, x + chunk.index[r] * A_ + a,
                     r + 1 < end ? x + chunk.index[r + 1] * A_ + a : nullptr);
          }
        }
      });
    }
  }

  // A vector of one row, or paired with that of a second: null for zeros.
  static void put_pair(A* to, int lanes, const Real* first, const Real* second) {
    const reg one = lanes ? Io::load(first, lanes) : V::zero();
    if constexpr (kPair == 1)
      V::store(to, one);
    else
      V::store_pairs(to, one, second && lanes ? Io::load(second, lanes) : V::zero());
  }

  T* block_logits(int64_t block, int member) const {
    return logits_ + (keeps_ ? block : member) * block_ * stride_;
  }
  int64_t block_size(int64_t block) const { return std::min(block_, V_ - block * block_); }

  void logits_of(const Chunk& chunk, int64_t block, int member) {
    T* z = block_logits(block, member);
    Base::logits(block, chunk.rows, member, z);
    Base::sum_up(block, chunk.rows, z);
    const int64_t begin = block * block_, count = block_size(block);
    for (int64_t r = 0; r < chunk.rows; ++r) {
      const int64_t v = c_.labels[chunk.index[r]] - begin;
      if (v >= 0 && v < count) labels_[r] = z[v * stride_ + r];
    }
    if (!sums_) return;
    for (int64_t first = 0; first < chunk.rows; first += L) {
      reg sum = V::zero();
      for (int64_t v = 0; v < count; ++v) sum = V::add(sum, V::load(z + v * stride_ + first));
      V::store(sums_ + block * chunk_ + first, sum);
    }
  }

  void finish_rows(const Chunk& chunk, const Team& team, int member) {
    const Range part = share((chunk.rows + L - 1) / L, team.size(), member);
    Base::join(part);
    const double eps = c_.label_smoothing;
    for (int64_t r = part.begin * L; r < std::min(chunk.rows, part.end * L); ++r) {
      const double total = log_totals_[r], label = labels_[r];
      double sum = 0;
      if (sums_)
        for (int64_t b = 0; b < blocks_; ++b) sum += sums_[b * chunk_ + r];
      const int32_t n = chunk.index[r];
      if (c_.losses) store(c_.losses + n, total - (1 - eps) * label - eps / V_ * sum);
      if (c_.cross_entropies) store(c_.cross_entropies + n, total - label);
    }
  }

  // In cross_entropy_gradients.h.
  void gradients_of(const Chunk& chunk, int64_t block, int member);
  void differentiate(const Chunk& chunk, int64_t v, int64_t left, T* z, A* paired);
  void at_label(int64_t r, int64_t begin, int64_t v, T* z, A* paired);
  template <int R, int W>
  void kernel_tile(const Chunk& chunk, int64_t v, const A* d, int64_t n);
  using PlainIo = typename V::template Io<float>;
  static int lanes(int64_t left, int w) {
    return static_cast<int>(std::max<int64_t>(0, std::min<int64_t>(L, left - w * L)));
  }
  void write_bias(int64_t begin, int64_t count) const;
  void input_gradient(const Chunk& chunk, const Team& team, int member);
  template <int W>
  void pack_panel(int64_t v, int64_t count, int64_t n, A* to) const;
  template <int W>
  void input_tile(const Chunk& chunk, int64_t row, int64_t v, int64_t K, int64_t n,
                  const A* panel);
  template <int W>
  void product(reg (&sum)[M][W], const A* d, const A* panel, int64_t K) const;

  const conveyor_cross_entropy& c_;
  int32_t* index_ = nullptr;  // of the rows that count
  int64_t rows_ = 0;          // how many these are
  int64_t wide_ = 0;          // panels of kWide features
  bool keeps_ = false;
  T *labels_ = nullptr, *sums_ = nullptr;  // the logit of each row's label; sums of logits
  T* logits_ = nullptr;                    // [class][stride_], of which d takes the place
  A *paired_ = nullptr, *along_ = nullptr, *panels_ = nullptr;
  T *bias_sums_ = nullptr, *kernel_sums_ = nullptr, *x_sums_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor

#include "kernels/cross_entropy_gradients.h"
