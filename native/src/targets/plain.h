// Vectors as plain arrays, which compilers turn into whatever the processor has.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "real.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class Element, int Lanes>
struct Plain {
  using T = Element;
  static constexpr int L = Lanes;
  static constexpr bool kTransposes = false;
  static constexpr int kRows = 3, kColumns = 4, kRegisters = 16;
  struct reg {
    T v[L];
  };

  template <class F>
  static inline reg each(F f) {
    reg r;
    for (int n = 0; n < L; ++n) r.v[n] = f(n);
    return r;
  }

  static inline void keep(reg&) {}
  static inline reg zero() { return each([](int) { return T(0); }); }
  static inline reg set1(T a) { return each([=](int) { return a; }); }
  static inline reg load(const T* from) { return each([=](int n) { return from[n]; }); }
  static inline void store(T* to, reg a) {
    for (int n = 0; n < L; ++n) to[n] = a.v[n];
  }
  static inline reg load_n(const T* from, int count) {
    return each([=](int n) { return n < count ? from[n] : T(0); });
  }
  static inline void store_n(T* to, reg a, int count) {
    for (int n = 0; n < count; ++n) to[n] = a.v[n];
  }
  static inline void prefetch(const void* at) { __builtin_prefetch(at); }
  static inline void prefetch_write(const void* at) { __builtin_prefetch(at, 1); }

  static inline reg add(reg a, reg b) { return each([&](int n) { return a.v[n] + b.v[n]; }); }
  static inline reg sub(reg a, reg b) { return each([&](int n) { return a.v[n] - b.v[n]; }); }
  static inline reg mul(reg a, reg b) { return each([&](int n) { return a.v[n] * b.v[n]; }); }
  static inline reg div(reg a, reg b) { return each([&](int n) { return a.v[n] / b.v[n]; }); }
  static inline reg neg(reg a) { return each([&](int n) { return -a.v[n]; }); }
  static inline reg inverse(reg a) { return each([&](int n) { return 1 / a.v[n]; }); }
  static inline reg fma(reg a, reg b, reg c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return each([&](int n) { return std::fma(a.v[n], b.v[n], c.v[n]); });
#else
    return each([&](int n) { return a.v[n] * b.v[n] + c.v[n]; });
#endif
  }
  // b where either is NaN.
  static inline reg max(reg a, reg b) {
    return each([&](int n) { return a.v[n] > b.v[n] ? a.v[n] : b.v[n]; });
  }
  static inline reg min(reg a, reg b) {
    return each([&](int n) { return a.v[n] < b.v[n] ? a.v[n] : b.v[n]; });
  }
  // 1 where positive, 0 elsewhere, NaN where NaN.
  static inline reg positive(reg a) {
    return each([&](int n) { return a.v[n] > 0 ? T(1) : a.v[n] == a.v[n] ? T(0) : a.v[n]; });
  }
  // a where the condition is positive, else b.
  static inline reg select(reg condition, reg a, reg b) {
    return each([&](int n) { return condition.v[n] > 0 ? a.v[n] : b.v[n]; });
  }
  // One bit for each lane where a > b.
  static inline unsigned greater(reg a, reg b) {
    unsigned bits = 0;
    for (int n = 0; n < L; ++n) bits |= (a.v[n] > b.v[n] ? 1u : 0u) << n;
    return bits;
  }
  // The first `count` lanes, zeros after them.
  static inline reg first(reg a, int count) {
    return each([&](int k) { return k < count ? a.v[k] : T(0); });
  }
  // To the nearest integer, for |a| < 2^22: adding 1.5 * 2^23 leaves no bits for the fraction.
  static inline reg round(reg a) {
    const T big = T(12582912);
    return each([&](int n) { return (a.v[n] + big) - big; });
  }
  static inline reg floor(reg a) {
    const reg n = round(a);
    return each([&](int k) { return n.v[k] > a.v[k] ? n.v[k] - 1 : n.v[k]; });
  }
  // A power of 2 that scale() can take; NaN stays NaN.
  static inline reg bounded(reg y) { return max(set1(-126), y); }
  // y - floor(y); 0 or NaN where y is infinite.
  static inline reg fraction(reg y) { return sub(y, floor(y)); }
  // y - n, of the nearest integer n.
  static inline reg offset(reg y, reg n) { return sub(y, n); }
  // q 2^floor(y), for y up to 127.
  static inline reg scale(reg q, reg y) {
    const reg whole = floor(y);
    return each([&](int n) {
      // A NaN must not become an integer; q is NaN then.
      const float bounded = whole.v[n] == whole.v[n] ? static_cast<float>(whole.v[n]) : 0;
      const int32_t bits = (static_cast<int32_t>(bounded) + 127) * (1 << 23);
      float f;
      std::memcpy(&f, &bits, sizeof f);
      return static_cast<T>(q.v[n] * f);
    });
  }
  template <class F>
  static inline reg map(reg a, F f) {
    return each([&](int n) { return static_cast<T>(f(a.v[n])); });
  }

  // What products read: A holds kPair neighbours along the summed axis.
  using A = T;
  static constexpr int kPair = 1;
  static inline reg broadcast(const A* from) { return set1(*from); }
  static inline reg weights(const A* from) { return load(from); }
  static inline reg dot(reg a, reg w, reg sum) { return fma(a, w, sum); }

  // Arrays of callers: any element type, any alignment.
  template <class Real>
  struct Io {
    static inline reg load(const Real* from, int count) {
      return each([=](int n) { return n < count ? static_cast<T>(load_one(from + n)) : T(0); });
    }
    static inline void store(Real* to, reg a, int count) {
      for (int n = 0; n < count; ++n) conveyor::store(to + n, a.v[n]);
    }
    static inline reg round(reg a) {
      return each([&](int n) { return static_cast<T>(round_to<Real>(a.v[n])); });
    }
  };
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
