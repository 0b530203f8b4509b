#include "target.h"

#include <atomic>

#include "cpu.h"


namespace conveyor {
namespace {

std::atomic<int> chosen{-1};

int fastest() {
  int n = target_count - 1;
  while (*targets[n]->missing()) --n;  // scalar lacks nothing
  return n;
}

}  // namespace

extern const Target scalar_target, avx2_target, avx512_target, avx512_bf16_target;

// What the compiler could not make is listed all the same: `missing` says why.
#if !CONVEYOR_HAS_AVX2
const Target avx2_target = {"avx2", avx2_missing};
#endif
#if !CONVEYOR_HAS_AVX512
const Target avx512_target = {"avx512", avx512_missing};
#endif
#if !CONVEYOR_HAS_AVX512_BF16
const Target avx512_bf16_target = {"avx512_bf16", avx512_bf16_missing};
#endif

const Target* const targets[] = {&scalar_target, &avx2_target, &avx512_target, &avx512_bf16_target};
const int target_count = sizeof(targets) / sizeof(*targets);

const Target& target() { return *targets[conveyor_target()]; }

}  // namespace conveyor

extern "C" {

using conveyor::target_count;
using conveyor::targets;

int conveyor_target_count(void) { return target_count; }

const char* conveyor_target_name(int n) {
  return n >= 0 && n < target_count ? targets[n]->name : "";
}

const char* conveyor_target_missing(int n) {
  return n >= 0 && n < target_count ? targets[n]->missing() : "no such target";
}

int conveyor_target(void) {
  int n = conveyor::chosen.load(std::memory_order_relaxed);
  if (n < 0) conveyor::chosen.store(n = conveyor::fastest(), std::memory_order_relaxed);
  return n;
}

int conveyor_set_target(int n) {
  if (*conveyor_target_missing(n)) return CONVEYOR_INVALID;
  conveyor::chosen.store(n, std::memory_order_relaxed);
  return CONVEYOR_OK;
}
}
