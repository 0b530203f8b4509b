// One LSTM with random arrays, each of exactly its size on the heap, so that AddressSanitizer
// sees an element that is read or written beside it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "conveyor/lstm.h"

struct Random {
  uint64_t state;
  uint64_t next() {  // splitmix64
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  bool coin() { return next() & 1; }
  double between(double low, double high) {
    return low + (high - low) * static_cast<double>(next() >> 11) / 9007199254740992.0;
  }
};

int64_t element_bytes(int dtype);

class Array {
 public:
  Array() = default;
  // Filled with bytes that are NaN in every dtype; `skew` elements off the allocator's alignment.
  Array(int dtype, int64_t count, int skew = 0);
  void* data() const { return start_; }
  int64_t count() const { return count_; }
  int64_t bytes() const { return count_ * element_bytes(dtype_); }
  double get(int64_t n) const;
  void set(int64_t n, double value);
  void fill(Random& random, double low, double high);
  void fill(double value);
  bool same_bytes(const Array& other) const;
  explicit operator bool() const { return start_ != nullptr; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> memory_;
  void* start_ = nullptr;
  int dtype_ = 0;
  int64_t count_ = 0;
};

// What a request is to be; each test changes what it is about.
struct Options {
  int dtype = CONVEYOR_FLOAT32;
  int64_t batch = 3, time_steps = 4, features = 5, units = 6;
  int activation = CONVEYOR_TANH, recurrent_activation = CONVEYOR_SIGMOID;
  bool go_backwards = false, bias = true, hidden_state = true, cell_state = true;
  enum { kNone, kRandom, kPadding, kNothing } mask = kNone;
  bool resets = false;
  int dropout_masks = 0, recurrent_dropout_masks = 0;
  int output_activation = -1;  // as activation
  double alpha = 0.4, beta = 0.7;  // of all activations
  bool peephole = false, coupled = false;
  double clip = 0, cell_clip = 0, hidden_part = 0, cell_part = 0;
  bool hidden_zoneout = false, cell_zoneout = false;  // as arrays
  int layer_norm = CONVEYOR_NO_NORM;
  bool cell_norm = false, output_transform = false;
  int64_t projection = 0;
  unsigned outputs = 0xff;     // bits: which states
  unsigned arriving = 0xff;    // bits: which of d_states
  unsigned gradients = 0x7fff;  // bits: which gradients, in the order of Gradients
  int skew = 0;
  int threads = 0;
  uint64_t seed = 1;

  int64_t hidden() const { return projection ? projection : units; }
  std::string text() const;
};

enum Gradient {
  kDX, kDKernel, kDRecurrentKernel, kDBias, kDHiddenState, kDCellState, kDDropoutMask,
  kDRecurrentDropoutMask, kDPeephole, kDOutputKernel, kDOutputBias, kDProjectionKernel, kDGateScale,
  kDCellScale, kDCellShift, kGradients
};
extern const char* const gradient_names[kGradients];
extern const char* const state_names[CONVEYOR_STATES];
extern const char* const dtype_names[3];

class Request {
 public:
  explicit Request(const Options& options);
  // Both directions, through the public API or through the reference.
  int forward(bool keep_reserve);
  int backward();
  void forward_by_reference();
  void backward_by_reference();
  bool same_results(const Request& other) const;
  conveyor_lstm_outputs outputs(bool keep_reserve);
  conveyor_lstm_gradients wanted();

  const Options options;
  conveyor_lstm lstm{};
  Array x, kernel, recurrent_kernel, bias, hidden_state, cell_state, dropout_mask,
      recurrent_dropout_mask, peephole, output_kernel, output_bias, projection_kernel, gate_scale,
      cell_scale, cell_shift;
  std::vector<uint8_t> mask, resets, hidden_zoneout, cell_zoneout;
  Array states[CONVEYOR_STATES], d_states[CONVEYOR_STATES], gradients[kGradients];

 private:
  int64_t state_count(int state) const;
  bool has(int gradient) const;
  int state_dtype() const;

  std::unique_ptr<char[]> reserve_;
  Array hidden_states_;  // where the backward pass needs them and nobody else
};

// Runs `run` with every target that this machine has; a CHECK says which.
template <class Run>
void on_every_target(Run run) {
  const int before = conveyor_target();
  for (int n = 0; n < conveyor_target_count(); ++n) {
    if (*conveyor_target_missing(n)) continue;
    const At at(conveyor_target_name(n));
    CHECK_EQUAL(conveyor_set_target(n), CONVEYOR_OK);
    run();
  }
  CHECK_EQUAL(conveyor_set_target(before), CONVEYOR_OK);
}
