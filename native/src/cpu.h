// What the processor and the operating system give: instruction sets, caches, cores.
#pragma once

#include <cstdint>

namespace conveyor {

// "" where this machine runs the target, else what is lacking, as a sentence for the user.
const char* avx2_missing();
const char* avx512_missing();
const char* avx512_bf16_missing();

// Of the caches, what one core has for itself: its L2, and its share of the L3.
int64_t l2_bytes();
int64_t l3_bytes();

// The cores this process may keep busy: of the machine, the affinity mask and the cgroup's
// quota, the fewest.
int cores();

// The registers that x86's CPUID and XGETBV answer with; zeros on other processors.
struct X86 {
  uint32_t leaf1_ecx = 0, leaf7_ebx = 0, leaf7_1_eax = 0;
  uint64_t xcr0 = 0;  // the registers that the operating system saves
};

X86 x86();
const char* avx2_missing(const X86& cpu);
const char* avx512_missing(const X86& cpu);
const char* avx512_bf16_missing(const X86& cpu);

}  // namespace conveyor
