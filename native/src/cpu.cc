#include "cpu.h"

#if defined(__x86_64__) || defined(_M_X64)
#define CONVEYOR_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace conveyor {
namespace {

constexpr uint32_t bit(int n) { return uint32_t{1} << n; }

constexpr uint32_t kFma = bit(12), kOsxsave = bit(27), kAvx = bit(28);  // leaf1_ecx
constexpr uint32_t kAvx2 = bit(5), kAvx512f = bit(16), kAvx512dq = bit(17), kAvx512bw = bit(30),
                   kAvx512vl = bit(31);      // leaf7_ebx
constexpr uint32_t kAvx512bf16 = bit(5);     // leaf7_1_eax
constexpr uint64_t kYmm = bit(1) | bit(2);   // xcr0: the lower 128 bits, and the upper
constexpr uint64_t kZmm = kYmm | bit(5) | bit(6) | bit(7);  // masks, upper halves, 16 to 31

#if CONVEYOR_X86
struct Registers {
  uint32_t eax, ebx, ecx, edx;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r{};
#if defined(_MSC_VER)
  int highest[4], values[4];
  __cpuid(highest, 0);
  if (static_cast<uint32_t>(highest[0]) < leaf) return r;
  __cpuidex(values, static_cast<int>(leaf), static_cast<int>(subleaf));
  r = {static_cast<uint32_t>(values[0]), static_cast<uint32_t>(values[1]),
       static_cast<uint32_t>(values[2]), static_cast<uint32_t>(values[3])};
#else
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
#endif
  return r;
}

uint64_t xgetbv0() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}
#endif

}  // namespace

X86 x86() {
  X86 cpu;
#if CONVEYOR_X86
  cpu.leaf1_ecx = cpuid(1, 0).ecx;
  const Registers seven = cpuid(7, 0);
  cpu.leaf7_ebx = seven.ebx;
  if (seven.eax >= 1) cpu.leaf7_1_eax = cpuid(7, 1).eax;  // eax: the highest subleaf
  // Without the bit, XGETBV itself is an illegal instruction.
  if (cpu.leaf1_ecx & kOsxsave) cpu.xcr0 = xgetbv0();
#endif
  return cpu;
}

const char* avx2_missing(const X86& cpu) {
#if !CONVEYOR_X86
  return "this processor is no x86-64";
#endif
  if (!(cpu.leaf1_ecx & kAvx) || !(cpu.leaf7_ebx & kAvx2)) return "this processor lacks AVX2";
  if (!(cpu.leaf1_ecx & kFma)) return "this processor lacks FMA";
  if ((cpu.xcr0 & kYmm) != kYmm)
    return "the operating system does not save the registers of AVX2";
  return "";
}

const char* avx512_missing(const X86& cpu) {
  if (const char* missing = avx2_missing(cpu); *missing) return missing;
  if (!(cpu.leaf7_ebx & kAvx512f)) return "this processor lacks AVX-512F";
  if (!(cpu.leaf7_ebx & kAvx512dq)) return "this processor lacks AVX-512DQ";
  if (!(cpu.leaf7_ebx & kAvx512bw)) return "this processor lacks AVX-512BW";
  if (!(cpu.leaf7_ebx & kAvx512vl)) return "this processor lacks AVX-512VL";
  // macOS saves them from their first use on and says so only then: AVX2 is taken there.
  if ((cpu.xcr0 & kZmm) != kZmm)
    return "the operating system does not save the registers of AVX-512";
  return "";
}

const char* avx512_bf16_missing(const X86& cpu) {
  if (const char* missing = avx512_missing(cpu); *missing) return missing;
  return cpu.leaf7_1_eax & kAvx512bf16 ? "" : "this processor lacks AVX-512-BF16";
}

// CMake defines CONVEYOR_HAS_... for the targets that the compiler could make.

const char* avx2_missing() {
#if CONVEYOR_X86 && !CONVEYOR_HAS_AVX2
  return "this build lacks it: its compiler has no -mavx2 -mfma";
#else
  static const char* const missing = avx2_missing(x86());
  return missing;
#endif
}

const char* avx512_missing() {
#if CONVEYOR_X86 && !CONVEYOR_HAS_AVX512
  return "this build lacks it: its compiler has no -mavx512f";
#else
  static const char* const missing = avx512_missing(x86());
  return missing;
#endif
}

const char* avx512_bf16_missing() {
#if CONVEYOR_X86 && !CONVEYOR_HAS_AVX512_BF16
  return "this build lacks it: its compiler has no -mavx512bf16";
#else
  static const char* const missing = avx512_bf16_missing(x86());
  return missing;
#endif
}

}  // namespace conveyor
