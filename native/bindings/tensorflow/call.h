// One run of a kernel: its inputs checked, its outputs allocated, its failure told.
#pragma once

#include <array>
#include <cstddef>

#include "api.h"
#include "conveyor/lstm.h"

namespace conveyor {

// The attributes of an op; see ops.cc.
struct Options {
  conveyor_lstm lstm;  // without addresses and sizes
  int64_t given;   // bits: which inputs there are
  int64_t states;  // bits: the states it returns, or whose gradients arrive
  int64_t wanted;  // forward: whether to keep what the backward pass reads; backward: bits
};

// Whatever is computed.
class Run {
 public:
  Run(const char* what, TF_OpKernelContext* context);
  virtual ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  bool ok() const { return ok_; }
  // The next input, whose axes are letters.
  const void* input(const char* name, const char* axes, int dtype);
  // The next output.
  void* output(const char* axes, int dtype);
  void finish(int conveyor_status);

 protected:
  virtual int64_t size(char axis) const = 0;
  void fail(int code, const char* message);

  const char* const what_;  // "an LSTM", for messages
  TF_OpKernelContext* context_;
  TF_Status* status_;
  bool ok_ = true;
  int inputs_ = 0, outputs_ = 0;
  // 19 arrays, hidden_states, reserve, 8 gradients; and no more outputs than that.
  std::array<TF_Tensor*, 60> held_{};
  size_t holding_ = 0;
};

// Axes: B T F U H, G for 4U, P for 3U, 2, 4, and R for bytes of reserve.
class Call : public Run {
 public:
  Call(const Options& options, TF_OpKernelContext* context);

  const conveyor_lstm& lstm() const { return lstm_; }
  int real() const { return real_; }
  int state() const { return real_ == TF_BFLOAT16 ? static_cast<int>(TF_FLOAT) : real_; }

 private:
  int64_t size(char axis) const override;
  void read_arrays(const Options& options);

  conveyor_lstm lstm_{};
  int real_;
};

}  // namespace conveyor
