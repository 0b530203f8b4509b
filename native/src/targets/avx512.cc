// AVX-512: 16 floats, or 8 doubles, at a time; a tile of 6 rows x 4 vectors in 24 of 32 registers.
#define CONVEYOR_TARGET_NAMESPACE avx512
#include "cpu.h"
#include "kernels/engine.h"
#include "targets/avx512.h"
#include "targets/plain.h"

namespace conveyor {

using Avx512Engine = avx512::Engine<avx512::Floats, avx512::Plain<double, 8>>;
extern const Target avx512_target = {"avx512", avx512_missing, Avx512Engine::forward,
                                     Avx512Engine::backward, Avx512Engine::stream, Avx512Engine::cross_entropy,
                                     Avx512Engine::top_k, Avx512Engine::gru_forward,
                                     Avx512Engine::gru_backward, Avx512Engine::gru_stream};

}  // namespace conveyor
