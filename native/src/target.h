// An instruction set, and the kernels compiled for it.
#pragma once

#include "conveyor/gru.h"
#include "conveyor/linear.h"
#include "conveyor/lstm.h"
#include "wavefront.h"

namespace conveyor {

// Weights that were packed once, and one step at a time.
class Stream {
 public:
  virtual ~Stream() = default;
  // As conveyor_stream_step, of arrays that were checked.
  virtual void step(int64_t batch, const void* x, void* hidden_state, void* cell_state) = 0;
};

struct Target {
  const char* name;
  const char* (*missing)();  // "" where this machine runs it; the others are null where not compiled
  int (*forward)(const conveyor_lstm&, const conveyor_lstm_outputs&, const Wavefront&) = nullptr;
  int (*backward)(const conveyor_lstm&, const conveyor_lstm_gradients&, const Wavefront&) = nullptr;
  Stream* (*stream)(const conveyor_lstm&) = nullptr;  // `new`
  int (*cross_entropy)(const conveyor_linear&, const conveyor_cross_entropy&) = nullptr;
  int (*top_k)(const conveyor_linear&, const conveyor_top_k&) = nullptr;
  int (*gru_forward)(const conveyor_gru&, const conveyor_gru_outputs&) = nullptr;
  int (*gru_backward)(const conveyor_gru&, const conveyor_gru_gradients&) = nullptr;
  Stream* (*gru_stream)(const conveyor_gru&) = nullptr;
};

// Slowest first.
extern const Target* const targets[];
extern const int target_count;

const Target& target();

}  // namespace conveyor
