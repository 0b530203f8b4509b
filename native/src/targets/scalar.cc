// Any processor: 4 floats, or 2 doubles, at a time.
#define CONVEYOR_TARGET_NAMESPACE scalar
#include "kernels/engine.h"
#include "targets/plain.h"

namespace conveyor {
namespace {
const char* missing() { return ""; }
}  // namespace

using ScalarEngine = CONVEYOR_TARGET_NAMESPACE::Engine<CONVEYOR_TARGET_NAMESPACE::Plain<float, 4>,
                                                       CONVEYOR_TARGET_NAMESPACE::Plain<double, 2>>;
extern const Target scalar_target = {"scalar", missing, ScalarEngine::forward,
                                     ScalarEngine::backward, ScalarEngine::stream, ScalarEngine::cross_entropy,
                                     ScalarEngine::top_k, ScalarEngine::gru_forward, ScalarEngine::gru_backward,
                                     ScalarEngine::gru_stream};

}  // namespace conveyor
