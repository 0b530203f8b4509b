// Rows and weights as products read them: V::A, which holds V::kPair neighbours along the
// summed axis, of type T (alone) or bfloat16 (in pairs).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "real.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V>
struct Operand {
  using A = typename V::A;
  using T = typename V::T;
  using Element = std::conditional_t<V::kPair == 1, T, bfloat16>;
  using ElementIo = typename V::template Io<Element>;
  static_assert(sizeof(A) == V::kPair * sizeof(Element), "A is nothing but its elements");

  // A that hold `n` elements.
  static int64_t count(int64_t n) { return (n + V::kPair - 1) / V::kPair; }
  static Element* elements(A* a) { return reinterpret_cast<Element*>(a); }
  static const Element* elements(const A* a) { return reinterpret_cast<const Element*>(a); }

  // L elements from the n-th on.
  static typename V::reg load(const A* row, int64_t n) {
    return ElementIo::load(elements(row) + n, V::L);
  }
  static void store(A* row, int64_t n, typename V::reg value) {
    ElementIo::store(elements(row) + n, value, V::L);
  }
  static void store_n(A* row, int64_t n, typename V::reg value, int lanes) {
    ElementIo::store(elements(row) + n, value, lanes);
  }
  static void set(A* row, int64_t n, T value) { conveyor::store(elements(row) + n, value); }
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
