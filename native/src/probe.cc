// Two loops that do nothing but multiply-adds, and nothing but loads.
#include "conveyor/probe.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>

#include "threads.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define CONVEYOR_PROBE_X86 1
#include <immintrin.h>
#endif

namespace conveyor {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kLine = 64;  // bytes; also the widest vector

// So that the compiler neither drops a result nor knows a factor.
volatile float sink;
volatile float nearly_one = 0.9999f;

// Twelve sums hide the latency of the multiply-add (4 cycles, two a cycle) and fit into the
// registers of every instruction set; a loop returns the operations that it did.
constexpr int kSums = 12;
constexpr int64_t kRepeats = 1 << 14;

using Compute = double (*)();
using Read = void (*)(const char* begin, int64_t bytes);

// Two roundings where the processor has no fused instruction: std::fma would call a function.
inline float multiply_add(float a, float b, float c) {
#if defined(__FP_FAST_FMAF) || defined(__aarch64__)
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}

// One float at a time as it is written; compilers vectorise it for the processor's baseline.
double compute_plain() {
  constexpr int kLanes = 4;
  const float factor = nearly_one;
  float sums[kSums][kLanes];
  for (auto& sum : sums) {
    for (float& lane : sum) lane = nearly_one;  // each read anew: none is known to equal another
  }
  for (int64_t n = 0; n < kRepeats; ++n) {
    for (auto& sum : sums) {
      for (float& lane : sum) lane = multiply_add(lane, factor, factor);
    }
  }
  for (auto& sum : sums) {
    for (float lane : sum) sink = lane;
  }
  return 2.0 * kRepeats * kSums * kLanes;
}

void read_plain(const char* begin, int64_t bytes) {
  uint64_t sums[8] = {};
  for (int64_t at = 0; at < bytes; at += kLine) {
    uint64_t line[8];
    std::memcpy(line, begin + at, kLine);
    for (int n = 0; n < 8; ++n) sums[n] ^= line[n];
  }
  for (uint64_t sum : sums) sink = static_cast<float>(sum);
}

#ifdef CONVEYOR_PROBE_X86

#define CONVEYOR_KEEP(v) asm volatile("" : "+x"(v))
#define CONVEYOR_KEEP_512(v) asm volatile("" : "+v"(v))

__attribute__((target("avx2,fma"))) double compute_avx2() {
  const __m256 factor = _mm256_set1_ps(nearly_one);
  __m256 sums[kSums];
  for (auto& sum : sums) sum = factor;
  for (int64_t n = 0; n < kRepeats; ++n) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm256_fmadd_ps(sum, factor, factor);
  }
  for (auto& sum : sums) CONVEYOR_KEEP(sum);
  return 2.0 * 8 * kRepeats * kSums;
}

__attribute__((target("avx512f"))) double compute_avx512() {
  const __m512 factor = _mm512_set1_ps(nearly_one);
  __m512 sums[kSums];
  for (auto& sum : sums) sum = factor;
  for (int64_t n = 0; n < kRepeats; ++n) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_fmadd_ps(sum, factor, factor);
  }
  for (auto& sum : sums) CONVEYOR_KEEP_512(sum);
  return 2.0 * 16 * kRepeats * kSums;
}

__attribute__((target("avx512f,avx512bf16"))) double compute_avx512_bf16() {
  const __m512 ones = _mm512_set1_ps(nearly_one);
  const __m512bh factor = _mm512_cvtne2ps_pbh(ones, ones);
  __m512 sums[kSums];
  for (auto& sum : sums) sum = ones;
  for (int64_t n = 0; n < kRepeats; ++n) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbf16_ps(sum, factor, factor);
  }
  for (auto& sum : sums) CONVEYOR_KEEP_512(sum);
  return 2.0 * 32 * kRepeats * kSums;
}

// An asm that takes the loaded vector keeps the load and adds no arithmetic.
__attribute__((target("avx2"))) void read_avx2(const char* begin, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 2 * kLine) {
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {
      __m256i v = _mm256_load_si256(reinterpret_cast<const __m256i*>(begin + at + 32 * n));
      CONVEYOR_KEEP(v);
    }
  }
}

__attribute__((target("avx512f"))) void read_avx512(const char* begin, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 2 * kLine) {
#pragma GCC unroll 2
    for (int n = 0; n < 2; ++n) {
      __m512i v = _mm512_load_si512(begin + at + kLine * n);
      CONVEYOR_KEEP_512(v);
    }
  }
}

Compute best_compute(int32_t dtype) {
  // Also asks whether the operating system saves the wide registers.
  if (dtype == CONVEYOR_BFLOAT16) {
    return __builtin_cpu_supports("avx512bf16") ? compute_avx512_bf16 : nullptr;
  }
  if (dtype != CONVEYOR_FLOAT32) return nullptr;
  if (__builtin_cpu_supports("avx512f")) return compute_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return compute_avx2;
  return compute_plain;
}

Read best_read() {
  if (__builtin_cpu_supports("avx512f")) return read_avx512;
  return __builtin_cpu_supports("avx2") ? read_avx2 : read_plain;
}

#else

Compute best_compute(int32_t dtype) {
  return dtype == CONVEYOR_FLOAT32 ? compute_plain : nullptr;
}

Read best_read() { return read_plain; }

#endif

// The sum over the team of amount per second, each member repeating `once` for `seconds`.
template <class Once>
double rate(int32_t threads, double seconds, Once once) {
  std::atomic<double> total{0};
  auto task = [&](Team& team, int member) {
    team.barrier();
    const Clock::time_point start = Clock::now();
    double amount = 0, elapsed;
    do {
      amount += once(member);
      elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    } while (elapsed < seconds);
    double seen = total.load();
    while (!total.compare_exchange_weak(seen, seen + amount / elapsed)) {
    }
  };
  run_team(threads, task);
  return total.load();
}

}  // namespace
}  // namespace conveyor

extern "C" {

double conveyor_probe_flops(int32_t dtype, int32_t threads, double seconds) {
  const conveyor::Compute compute = conveyor::best_compute(dtype);
  if (compute == nullptr || threads < 1) return 0;
  return conveyor::rate(threads, seconds, [=](int) { return compute(); });
}

double conveyor_probe_read(int64_t bytes, int32_t threads, double seconds) {
  using conveyor::kLine;
  constexpr int64_t kStep = 2 * kLine;
  constexpr int64_t kMost = INT64_C(1) << 40;
  if (bytes < kStep || bytes > kMost || threads < 1 || threads > 4096) return 0;
  bytes -= bytes % kStep;
  // A page apart, so that no two threads share a line.
  const int64_t stride = bytes + 4096;
  const std::unique_ptr<char[]> buffer(new (std::nothrow) char[threads * stride + kLine]);
  if (buffer == nullptr) return 0;
  // Written, or all pages would be the one page of zeros.
  std::memset(buffer.get(), 1, threads * stride + kLine);
  const int64_t past = reinterpret_cast<uintptr_t>(buffer.get()) % kLine;
  const char* aligned = buffer.get() + (kLine - past) % kLine;
  const conveyor::Read read = conveyor::best_read();
  // A small buffer is read often enough that asking for the time costs nothing.
  const int64_t repeats = 1 + (1 << 20) / bytes;
  return conveyor::rate(threads, seconds, [=](int member) {
    for (int64_t n = 0; n < repeats; ++n) read(aligned + member * stride, bytes);
    return static_cast<double>(repeats * bytes);
  });
}
}
