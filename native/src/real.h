// The element types of arrays, read and written as double or float at any alignment.
#pragma once

#include <cstdint>
#include <cstring>

namespace conveyor {

// The upper half of a float.
struct bfloat16 {
  uint16_t bits;
};

inline float to_float(bfloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
inline float to_float(float value) { return value; }
inline double to_float(double value) { return value; }

// To the nearest, ties to even; a NaN keeps its sign and stays one.
inline bfloat16 to_bfloat16(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}

// At any alignment.
inline float load_one(const float* from) {
  float f;
  std::memcpy(&f, from, sizeof f);
  return f;
}
inline double load_one(const double* from) {
  double d;
  std::memcpy(&d, from, sizeof d);
  return d;
}
inline float load_one(const bfloat16* from) {
  bfloat16 b;
  std::memcpy(&b, from, sizeof b);
  return to_float(b);
}

template <class T>
double load(const void* array, int64_t at) {
  T value;
  std::memcpy(&value, static_cast<const char*>(array) + at * sizeof(T), sizeof(T));
  return to_float(value);
}

inline void store(float* to, double value) {
  const float f = static_cast<float>(value);
  std::memcpy(to, &f, sizeof f);
}
inline void store(double* to, double value) { std::memcpy(to, &value, sizeof value); }
inline void store(bfloat16* to, double value) {
  const bfloat16 b = to_bfloat16(static_cast<float>(value));
  std::memcpy(to, &b, sizeof b);
}

template <class T>
double round_to(double value) {
  T to;
  store(&to, value);
  return to_float(to);
}

}  // namespace conveyor
