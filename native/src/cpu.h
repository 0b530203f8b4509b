// What this processor, and the operating system on it, can run: "" or what is lacking.
#pragma once

namespace conveyor {

const char* avx2_missing();
const char* avx512_missing();
const char* avx512_bf16_missing();

}  // namespace conveyor
