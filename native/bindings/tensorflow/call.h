// One run of a kernel: its inputs checked, its outputs allocated, its failure told.
#pragma once

#include <array>
#include <cstddef>

#include "api.h"
#include "conveyor/lstm.h"

namespace conveyor {

// The attributes of an op; see ops.cc.
struct Options {
  int64_t dtype, activation, recurrent_activation, go_backwards, threads;
  int64_t given;   // bits: which inputs there are
  int64_t states;  // bits: the states it returns, or whose gradients arrive
  int64_t wanted;  // forward: whether to keep what the backward pass reads; backward: bits
};

class Call {
 public:
  Call(const Options& options, TF_OpKernelContext* context);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool ok() const { return ok_; }
  const conveyor_lstm& lstm() const { return lstm_; }

  // The next input, whose axes are letters: B T F U, G for 4U, 4, and R for bytes of reserve.
  const void* input(const char* name, const char* axes, int dtype);
  // The next output.
  void* output(const char* axes, int dtype);

  int real() const { return real_; }
  int state() const { return real_ == TF_BFLOAT16 ? static_cast<int>(TF_FLOAT) : real_; }
  void finish(int conveyor_status);

 private:
  int64_t size(char axis) const;
  void read_arrays(const Options& options);
  void fail(int code, const char* message);

  TF_OpKernelContext* context_;
  TF_Status* status_;
  conveyor_lstm lstm_{};
  int real_;
  bool ok_ = true;
  int inputs_ = 0, outputs_ = 0;
  // 9 arrays, hidden_states, reserve, 8 gradients; and no more outputs than that.
  std::array<TF_Tensor*, 40> held_{};
  size_t holding_ = 0;
};

}  // namespace conveyor
