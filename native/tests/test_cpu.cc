// What is asked of a processor, with registers as processors of several years answer.
#include <cstring>

#include "check.h"
#include "cpu.h"

namespace {

using conveyor::X86;

constexpr uint32_t kFma = 1u << 12, kOsxsave = 1u << 27, kAvx = 1u << 28;
constexpr uint32_t kAvx2 = 1u << 5, kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;
constexpr uint32_t kBf16 = 1u << 5;
constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;

X86 with(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t leaf7_1_eax, uint64_t xcr0) {
  X86 cpu;
  cpu.leaf1_ecx = leaf1_ecx;
  cpu.leaf7_ebx = leaf7_ebx;
  cpu.leaf7_1_eax = leaf7_1_eax;
  cpu.xcr0 = xcr0;
  return cpu;
}

void expect(const X86& cpu, const char* avx2, const char* avx512, const char* bf16) {
  const auto equal = [](const char* actual, const char* expected) {
    if (std::strcmp(actual, expected) != 0)
      fail(__FILE__, __LINE__, std::string("'") + actual + "', not '" + expected + "'");
  };
  equal(conveyor::avx2_missing(cpu), avx2);
  equal(conveyor::avx512_missing(cpu), avx512);
  equal(conveyor::avx512_bf16_missing(cpu), bf16);
}

constexpr uint32_t kOld = kFma | kOsxsave | kAvx, k512 = kAvx2 | kF | kDq | kBw | kVl;

#if defined(__x86_64__) || defined(_M_X64)
TEST(a_processor_lacks_what_its_registers_say) {
  const char* no2 = "this processor lacks AVX2";
  expect(with(0, 0, 0, 0), no2, no2, no2);
  expect(with(kOsxsave | kAvx, 0, 0, kYmm), no2, no2, no2);
  const char* no_fma = "this processor lacks FMA";
  expect(with(kOsxsave | kAvx, kAvx2, 0, kYmm), no_fma, no_fma, no_fma);
  const char* no512 = "this processor lacks AVX-512F";
  expect(with(kOld, kAvx2, 0, kYmm), "", no512, no512);
  const char* no_bw = "this processor lacks AVX-512BW";  // Xeon Phi
  expect(with(kOld, kAvx2 | kF | kDq, 0, kZmm), "", no_bw, no_bw);
  expect(with(kOld, k512 & ~kVl, 0, kZmm), "", "this processor lacks AVX-512VL",
         "this processor lacks AVX-512VL");
  expect(with(kOld, k512 & ~kDq, 0, kZmm), "", "this processor lacks AVX-512DQ",
         "this processor lacks AVX-512DQ");
  expect(with(kOld, k512, 0, kZmm), "", "", "this processor lacks AVX-512-BF16");
  expect(with(kOld, k512, kBf16, kZmm), "", "", "");
}

TEST(registers_that_the_system_does_not_save_are_not_used) {
  const char* no2 = "the operating system does not save the registers of AVX2";
  expect(with(kOld, k512, kBf16, 0x2), no2, no2, no2);
  const char* no512 = "the operating system does not save the registers of AVX-512";
  expect(with(kOld, k512, kBf16, kYmm), "", no512, no512);
  expect(with(kOld, k512, kBf16, kZmm & ~0x20u), "", no512, no512);
}
#endif

TEST(this_machine) {
  CHECK(conveyor::cores() >= 1);
  CHECK(conveyor::l2_bytes() >= 64 << 10);
  CHECK(conveyor::l2_bytes() <= 256 << 20);
  CHECK(conveyor::l3_bytes() >= 64 << 10);
  CHECK(conveyor::l3_bytes() <= int64_t{4} << 30);
}

}  // namespace
