// The largest logits of a linear layer, and the log of the sum of their exponentials.
//
// Each member keeps the largest of its own classes for every row of a chunk, as a block of logits
// comes from the product. A vector of rows is looked at one by one only where one of them has
// more than the least that its list holds.
#pragma once

#include <limits>

#include "kernels/linear.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real>
class TopK : Linear<V, Real> {
  using Base = Linear<V, Real>;
  using typename Base::T;
  using Base::A_, Base::L, Base::kWide, Base::l_, Base::memory_, Base::stop_, Base::V_,
      Base::stride_, Base::chunk_, Base::block_, Base::blocks_, Base::log_totals_, Base::most_;

 public:
  TopK(const conveyor_linear& l, const conveyor_top_k& t) : Base(l), t_(t), k_(t.k) {}

  int run() {
    Base::plan(l_.rows, 256);
    index_ = memory_.template take<int32_t>(l_.rows);
    for (int64_t n = 0; n < l_.rows; ++n) index_[n] = static_cast<int32_t>(n);
    logits_ = memory_.template take<T>(most_ * block_ * stride_);
    values_ = memory_.template take<T>(most_ * chunk_ * k_);
    classes_ = memory_.template take<int32_t>(most_ * chunk_ * k_);
    least_ = memory_.template take<T>(most_ * chunk_);
    const double work = 1.0 * l_.rows * V_ * (A_ + 8);
    auto task = [this](Team& team, int member) { work_on(team, member); };
    run_team(threads_for(l_.threads, work), task, work / kMultiplyAddsASecond);
    return stop_.stopped() ? CONVEYOR_INTERRUPTED : CONVEYOR_OK;
  }

 private:
  void work_on(Team& team, int member) {
    const Range blocks = share(blocks_, team.size(), member);
    T* const z = logits_ + member * block_ * stride_;
    int64_t round = 0;
    for (int64_t begin = 0; begin < l_.rows; begin += chunk_) {
      const int64_t rows = std::min(chunk_, l_.rows - begin);
      Base::pack_across(index_ + begin, rows,
                        share((rows + kWide - 1) / kWide, team.size(), member));
      if (stop_.meet(team, member, round)) return;
      int64_t listed = 0;
      for (int64_t b = blocks.begin; b < blocks.end && !stop_.skip(member); ++b) {
        Base::logits(b, rows, member, z);
        if (t_.totals) Base::sum_up(b, rows, z);
        listed = select(z, b, rows, member, listed);
      }
      if (stop_.meet(team, member, round)) return;
      const Range vectors = share((rows + L - 1) / L, team.size(), member);
      if (t_.totals) Base::join(vectors);
      for (int64_t r = vectors.begin * L; r < std::min(rows, vectors.end * L); ++r) {
        if (t_.totals) store(t_.totals + begin + r, log_totals_[r]);
        merge(team, r, begin + r);
      }
      if (stop_.meet(team, member, round)) return;
    }
  }

  // Values that are none come last.
  static T ordered(T value) {
    return value == value ? value : -std::numeric_limits<T>::infinity();
  }

  // Puts a value behind all that are not less, in a list of `listed`; of `k_` at most.
  void insert(T* values, int32_t* classes, int64_t listed, T value, int32_t v) const {
    int64_t at = std::min(listed, k_ - 1);
    for (; at > 0 && values[at - 1] < value; --at) {
      values[at] = values[at - 1];
      classes[at] = classes[at - 1];
    }
    values[at] = value;
    classes[at] = v;
  }

  // Returns how many classes the lists of this member hold now.
  int64_t select(const T* z, int64_t block, int64_t rows, int member, int64_t listed) {
    const int64_t begin = block * block_, count = std::min(block_, V_ - begin);
    T* const values = values_ + member * chunk_ * k_;
    int32_t* const classes = classes_ + member * chunk_ * k_;
    T* const least = least_ + member * chunk_;
    int64_t v = 0;
    for (; v < count && listed < k_; ++v, ++listed)
      for (int64_t r = 0; r < rows; ++r) {
        const T value = ordered(z[v * stride_ + r]);
        insert(values + r * k_, classes + r * k_, listed, value, static_cast<int32_t>(begin + v));
        least[r] = values[r * k_ + listed];
      }
    for (int64_t first = 0; first < rows; first += L) {
      const int64_t lanes = std::min<int64_t>(L, rows - first);
      for (int64_t lane = lanes; lane < L; ++lane)
        least[first + lane] = std::numeric_limits<T>::infinity();
      auto bound = V::load(least + first);
      for (int64_t w = v; w < count; ++w) {
        unsigned more = V::greater(V::load(z + w * stride_ + first), bound);
        if (!more) continue;
        for (int64_t lane = 0; more; ++lane, more >>= 1) {
          if (!(more & 1)) continue;
          const int64_t r = first + lane;
          insert(values + r * k_, classes + r * k_, k_, z[w * stride_ + r],
                 static_cast<int32_t>(begin + w));
          least[r] = values[r * k_ + k_ - 1];
        }
        bound = V::load(least + first);
      }
    }
    return listed;
  }

  // The lists of all members, whose classes follow each other.
  void merge(const Team& team, int64_t r, int64_t n) {
    T* const values = values_ + r * k_;  // the first member's
    int32_t* const classes = classes_ + r * k_;
    int64_t listed = held(team, 0);
    for (int m = 1; m < team.size(); ++m) {
      const int64_t theirs = (m * chunk_ + r) * k_, count = held(team, m);
      for (int64_t j = 0; j < count; ++j) {
        const T value = values_[theirs + j];
        if (listed == k_ && !(value > values[k_ - 1])) break;
        insert(values, classes, listed, value, classes_[theirs + j]);
        listed = std::min(listed + 1, k_);
      }
    }
    for (int64_t j = 0; j < k_; ++j) {
      store(t_.values + n * k_ + j, values[j]);
      std::memcpy(t_.indices + n * k_ + j, classes + j, sizeof *classes);
    }
  }

  int64_t held(const Team& team, int member) const {
    const Range blocks = share(blocks_, team.size(), member);
    const int64_t end = std::min(blocks.end * block_, V_);
    return std::min(k_, std::max<int64_t>(0, end - blocks.begin * block_));
  }

  const conveyor_top_k& t_;
  const int64_t k_;
  int32_t *index_ = nullptr, *classes_ = nullptr;
  T *logits_ = nullptr, *values_ = nullptr, *least_ = nullptr;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
