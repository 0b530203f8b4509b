// The kernels of one target, for every dtype. Included by the files in targets/, each compiled
// for its instruction set and with a namespace of its own, so that no linker can take a function
// of one for that of another.
#pragma once

#include "kernels/backward.h"
#include "kernels/cross_entropy.h"
#include "kernels/forward.h"
#include "kernels/gru_backward.h"
#include "kernels/gru_forward.h"
#include "kernels/staged_backward.h"
#include "kernels/staged_forward.h"
#include "kernels/stream.h"
#include "kernels/top_k.h"
#include "target.h"
#include "stages.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// Float and Double are the vectors of the target.
template <class Float, class Double>
struct Engine {
  static int forward(const conveyor_lstm& l, const conveyor_lstm_outputs& out,
                     const Wavefront& wave) {
    if (in_stages(l)) return forward_in_stages(l, out, wave);
    switch (l.dtype) {
      case CONVEYOR_FLOAT32: return Forward<Float, float, float>(l, out, wave).run();
      case CONVEYOR_FLOAT64: return Forward<Double, double, double>(l, out, wave).run();
      default: return Forward<Float, bfloat16, float>(l, out, wave).run();
    }
  }

  static int backward(const conveyor_lstm& l, const conveyor_lstm_gradients& g,
                      const Wavefront& wave) {
    if (in_stages(l)) return backward_in_stages(l, g, wave);
    switch (l.dtype) {
      case CONVEYOR_FLOAT32: return Backward<Float, float, float>(l, g, wave).run();
      case CONVEYOR_FLOAT64: return Backward<Double, double, double>(l, g, wave).run();
      default: return Backward<Float, bfloat16, float>(l, g, wave).run();
    }
  }

  static int forward_in_stages(const conveyor_lstm& l, const conveyor_lstm_outputs& out,
                               const Wavefront& wave) {
    switch (l.dtype) {
      case CONVEYOR_FLOAT32: return StagedForward<Float, float, float>(l, out, wave).run();
      case CONVEYOR_FLOAT64: return StagedForward<Double, double, double>(l, out, wave).run();
      default: return StagedForward<Float, bfloat16, float>(l, out, wave).run();
    }
  }

  static int backward_in_stages(const conveyor_lstm& l, const conveyor_lstm_gradients& g,
                                const Wavefront& wave) {
    switch (l.dtype) {
      case CONVEYOR_FLOAT32: return StagedBackward<Float, float, float>(l, g, wave).run();
      case CONVEYOR_FLOAT64: return StagedBackward<Double, double, double>(l, g, wave).run();
      default: return StagedBackward<Float, bfloat16, float>(l, g, wave).run();
    }
  }

  static Stream* stream(const conveyor_lstm& l) {
    return in_stages(l) ? stream_by<StagedForward>(l) : stream_by<Forward>(l);
  }

  template <template <class, class, class> class Kernel>
  static Stream* stream_by(const conveyor_lstm& l) {
    switch (l.dtype) {
      case CONVEYOR_FLOAT32: return new StreamOf<Kernel, Float, float, float>(l);
      case CONVEYOR_FLOAT64: return new StreamOf<Kernel, Double, double, double>(l);
      default: return new StreamOf<Kernel, Float, bfloat16, float>(l);
    }
  }

  static Stream* gru_stream(const conveyor_gru& g) {
    switch (g.dtype) {
      case CONVEYOR_FLOAT32: return new GruStreamOf<Float, float>(g);
      case CONVEYOR_FLOAT64: return new GruStreamOf<Double, double>(g);
      default: return new GruStreamOf<Float, bfloat16>(g);
    }
  }

  static int gru_forward(const conveyor_gru& g, const conveyor_gru_outputs& out) {
    switch (g.dtype) {
      case CONVEYOR_FLOAT32: return GruForward<Float, float>(g, out).run();
      case CONVEYOR_FLOAT64: return GruForward<Double, double>(g, out).run();
      default: return GruForward<Float, bfloat16>(g, out).run();
    }
  }

  static int gru_backward(const conveyor_gru& g, const conveyor_gru_gradients& d) {
    switch (g.dtype) {
      case CONVEYOR_FLOAT32: return GruBackward<Float, float>(g, d).run();
      case CONVEYOR_FLOAT64: return GruBackward<Double, double>(g, d).run();
      default: return GruBackward<Float, bfloat16>(g, d).run();
    }
  }

  static int cross_entropy(const conveyor_linear& l, const conveyor_cross_entropy& c) {
    if (l.dtype == CONVEYOR_FLOAT32) return CrossEntropy<Float, float>(l, c).run();
    return CrossEntropy<Float, bfloat16>(l, c).run();
  }

  static int top_k(const conveyor_linear& l, const conveyor_top_k& t) {
    if (l.dtype == CONVEYOR_FLOAT32) return TopK<Float, float>(l, t).run();
    return TopK<Float, bfloat16>(l, t).run();
  }
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
