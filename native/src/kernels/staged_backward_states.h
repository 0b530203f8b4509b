// The backward pass in stages: past masked steps, to where a row began anew, and to the states
// before the first step.
#pragma once

#include "kernels/staged_backward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// Past a masked step both gradients go unchanged, and what arrives at its states is added.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::pass(int64_t t, Range own, Range mine) {
  for (int64_t b = own.begin; b < own.end; ++b) {
    if (mine.begin < mine.end && steps_.row(t, mine.begin) == b) {
      ++mine.begin;
      continue;
    }
    for (int64_t p = 0; p < s_.HP; ++p) {
      T* const dh = dh_ + (p * s_.B + b) * L;
      V::store(dh, arriving_hidden(flags_[b] & kHolds ? V::load(dh) : V::zero(), b, t, p));
    }
    for (int64_t p = 0; p < s_.P; ++p) {
      T* const dc = dc_ + (p * s_.B + b) * L;
      V::store(dc, this->arriving(CONVEYOR_CELL_STATES, V::load(dc), b, t, p, lanes(p)));
    }
    flags_[b] |= kHolds;
  }
}

// Nothing goes past a step at which a row began anew; where at the states before the first step,
// it arrives there.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::restart(int64_t t, Range own, Local local) {
  for (int64_t b = own.begin; b < own.end; ++b) {
    const int reset = steps_.reset(b, t);
    if (reset == CONVEYOR_GO_ON) continue;
    const bool at_start = reset == CONVEYOR_AT_THE_START;
    for (int64_t n = 0; at_start && n < this->tiles_; ++n) {
      reg dh[N];
      this->arrived_at(dh, b, n, local);
      for (int64_t p = n * N; p < std::min(s_.HP, (n + 1) * N); ++p) {
        T* const sum = this->dh_start_ + (p * s_.B + b) * L;
        V::store(sum, V::add(V::load(sum), dh[p - n * N]));
      }
    }
    for (int64_t p = 0; p < s_.P; ++p) {
      const int64_t at = (p * s_.B + b) * L;
      if (at_start)
        V::store(this->dc_start_ + at, V::add(V::load(this->dc_start_ + at), V::load(dc_ + at)));
      V::store(dc_ + at, V::zero());
    }
    flags_[b] = 0;
  }
}

// What is left before the first step.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::finish(Range own, Local local) {
  auto* dh0 = static_cast<Real*>(g_.d_hidden_state);
  auto* dc0 = static_cast<T*>(g_.d_cell_state);
  for (int64_t b = own.begin; b < own.end; ++b) {
    for (int64_t n = 0; n < this->tiles_; ++n) {
      reg dh[N];
      this->arrived_at(dh, b, n, local);
      for (int64_t p = n * N; dh0 && p < std::min(s_.HP, (n + 1) * N); ++p) {
        reg sum = dh[p - n * N];
        if (this->dh_start_) sum = V::add(sum, V::load(this->dh_start_ + (p * s_.B + b) * L));
        Io::store(dh0 + b * s_.H + p * L, sum, hidden_lanes(p));
      }
    }
    for (int64_t p = 0; dc0 && p < s_.P; ++p) {
      const int64_t at = (p * s_.B + b) * L;
      reg sum = V::load(dc_ + at);
      if (this->dc_start_) sum = V::add(sum, V::load(this->dc_start_ + at));
      V::template Io<T>::store(dc0 + b * s_.U + p * L, sum, lanes(p));
    }
  }
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
