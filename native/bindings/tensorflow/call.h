// One run of a kernel, or one request of it: its inputs checked, its outputs allocated, its failure
// told. Axes are letters.
#pragma once

#include <array>
#include <cstddef>

#include "api.h"

namespace conveyor {

// Whatever is computed.
class Run {
 public:
  // Inputs and outputs go on behind those of the run before, where there is one.
  Run(const char* what, TF_OpKernelContext* context, const Run* before = nullptr);
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

}  // namespace conveyor
