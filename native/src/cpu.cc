#include "cpu.h"

#if defined(CONVEYOR_X86)
#include <cpuid.h>

#include <cstdint>

namespace conveyor {
namespace {

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(uint32_t leaf, uint32_t subleaf) {
  Leaf r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

bool has(uint32_t word, int bit) { return word >> bit & 1; }

// Which registers the operating system saves when it switches threads.
uint64_t saved() {
  if (!has(cpuid(1, 0).ecx, 27)) return 0;  // OSXSAVE
  uint32_t low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;

}  // namespace

const char* avx2_missing() {
  if (!has(cpuid(7, 0).ebx, 5) || !has(cpuid(1, 0).ecx, 12))
    return "this processor lacks AVX2 or FMA";
  return (saved() & kYmm) == kYmm ? "" : "the operating system does not save AVX registers";
}

const char* avx512_missing() {
  if (*avx2_missing()) return avx2_missing();
  const uint32_t ebx = cpuid(7, 0).ebx;
  if (!has(ebx, 16) || !has(ebx, 17) || !has(ebx, 30) || !has(ebx, 31))
    return "this processor lacks AVX-512 F, DQ, BW or VL";
  return (saved() & kZmm) == kZmm ? "" : "the operating system does not save AVX-512 registers";
}

const char* avx512_bf16_missing() {
  if (*avx512_missing()) return avx512_missing();
  return has(cpuid(7, 1).eax, 5) ? "" : "this processor lacks AVX512_BF16";
}

}  // namespace conveyor
#endif
