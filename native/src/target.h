// An instruction set, and the kernels compiled for it.
#pragma once

#include "conveyor/lstm.h"

namespace conveyor {

struct Target {
  const char* name;
  const char* (*missing)();  // "" where this machine runs it
  int (*forward)(const conveyor_lstm&, const conveyor_lstm_outputs&);
  int (*backward)(const conveyor_lstm&, const conveyor_lstm_gradients&);
};

// Slowest first.
extern const Target* const targets[];
extern const int target_count;

const Target& target();

}  // namespace conveyor
