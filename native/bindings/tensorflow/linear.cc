/* The output layer for TensorFlow, with its cross entropy or its largest logits.
 *
 * arrays: features, kernel, bias (float) where `bias` is 1, and labels (int32) for the first op.
 * Conveyor>LinearCrossEntropy: losses, cross entropies, and with `gradients` those of features,
 *   kernel and bias.
 * Conveyor>LinearTopK: values, indices, totals.
 */
#include "linear.h"

#include <initializer_list>
#include <new>

#include "api.h"
#include "call.h"
#include "conveyor/linear.h"

namespace conveyor {
namespace {

struct LinearOptions {
  int64_t dtype, threads, bias, gradients, ignored, k;
  float label_smoothing;
};

// Axes: N A V, and K for the largest.
class LinearCall : public Run {
 public:
  LinearCall(const LinearOptions& o, TF_OpKernelContext* context)
      : Run("an output layer", context), k_(o.k) {
    real_ = o.dtype == CONVEYOR_BFLOAT16 ? static_cast<int>(TF_BFLOAT16) : TF_FLOAT;
    linear_.size = sizeof linear_;
    linear_.dtype = static_cast<int32_t>(o.dtype);
    linear_.threads = static_cast<int32_t>(o.threads);
    // Sizes are those of the first two; all must agree with them.
    for (int n = 0; n < 2 && ok_; ++n) {
      TF_Tensor* tensor = nullptr;
      TF_GetInput(context_, n, &tensor, status_);
      if (TF_GetCode(status_) != TF_OK) {
        fail(TF_INVALID_ARGUMENT, nullptr);
        break;
      }
      if (TF_NumDims(tensor) == 2) {
        (n ? linear_.classes : linear_.rows) = TF_Dim(tensor, 0);
        linear_.features = TF_Dim(tensor, 1);
      }
      TF_DeleteTensor(tensor);
    }
    linear_.x = input("features", "NA", real_);
    linear_.kernel = input("kernel", "VA", real_);
    if (o.bias) linear_.bias = static_cast<const float*>(input("bias", "V", TF_FLOAT));
  }

  const conveyor_linear& linear() const { return linear_; }
  int real() const { return real_; }
  float* floats(const char* axes) { return static_cast<float*>(output(axes, TF_FLOAT)); }

 private:
  int64_t size(char axis) const override {
    switch (axis) {
      case 'N': return linear_.rows;
      case 'A': return linear_.features;
      case 'V': return linear_.classes;
      default: return k_;
    }
  }

  conveyor_linear linear_{};
  int64_t k_;
  int real_;
};

void cross_entropy(void* kernel, TF_OpKernelContext* context) {
  const LinearOptions& o = *static_cast<const LinearOptions*>(kernel);
  LinearCall call(o, context);
  conveyor_cross_entropy c{};
  c.size = sizeof c;
  c.labels = static_cast<const int32_t*>(call.input("labels", "N", TF_INT32));
  c.ignored = static_cast<int32_t>(o.ignored);
  c.label_smoothing = o.label_smoothing;
  c.losses = call.floats("N");
  c.cross_entropies = call.floats("N");
  if (o.gradients) {
    c.d_x = call.output("NA", call.real());
    c.d_kernel = call.output("VA", call.real());
    if (o.bias) c.d_bias = call.floats("V");
  }
  if (call.ok()) call.finish(conveyor_linear_cross_entropy(&call.linear(), &c));
}

void top_k(void* kernel, TF_OpKernelContext* context) {
  const LinearOptions& o = *static_cast<const LinearOptions*>(kernel);
  LinearCall call(o, context);
  conveyor_top_k t{};
  t.size = sizeof t;
  t.k = o.k;
  t.values = call.floats("NK");
  t.indices = static_cast<int32_t*>(call.output("NK", TF_INT32));
  t.totals = call.floats("N");
  if (call.ok()) call.finish(conveyor_linear_top_k(&call.linear(), &t));
}

void* create(TF_OpKernelConstruction* construction) {
  TF_Status* status = TF_NewStatus();
  LinearOptions* options = new (std::nothrow) LinearOptions{};
  if (options == nullptr) TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "no memory for a kernel");
  const auto read = [&](const char* name, int64_t LinearOptions::*field, int64_t low,
                        int64_t high) {
    if (TF_GetCode(status) != TF_OK) return;
    TF_OpKernelConstruction_GetAttrInt64(construction, name, &(options->*field), status);
    if (TF_GetCode(status) == TF_OK && (options->*field < low || options->*field > high))
      TF_SetStatus(status, TF_INVALID_ARGUMENT, "an attribute of an output layer is out of range");
  };
  read("dtype", &LinearOptions::dtype, 0, 2);
  read("threads", &LinearOptions::threads, 0, INT32_MAX);
  read("bias", &LinearOptions::bias, 0, 1);
  read("gradients", &LinearOptions::gradients, 0, 1);
  read("ignored", &LinearOptions::ignored, INT32_MIN, INT32_MAX);
  read("k", &LinearOptions::k, 0, INT32_MAX);
  if (TF_GetCode(status) == TF_OK)
    TF_OpKernelConstruction_GetAttrFloat(construction, "label_smoothing",
                                         &options->label_smoothing, status);
  if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return options;
}

void destroy(void* kernel) { delete static_cast<LinearOptions*>(kernel); }

void any_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

void add(const char* name, Compute compute) {
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddInput(op, "arrays: array_types");
  TF_OpDefinitionBuilderAddOutput(op, "results: result_types");
  for (const char* attribute :
       {"array_types: list({float, bfloat16, int32})",
        "result_types: list({float, bfloat16, int32})", "dtype: int", "threads: int", "bias: int",
        "gradients: int = 0", "ignored: int = 0", "k: int = 0", "label_smoothing: float = 0"})
    TF_OpDefinitionBuilderAddAttr(op, attribute);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, any_shape);
  TF_Status* status = TF_NewStatus();
  TF_RegisterOpDefinition(op, status);
  if (TF_GetCode(status) == TF_OK)
    TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", create, compute, destroy),
                             status);
  TF_DeleteStatus(status);
}

}  // namespace

void register_linear() {
  add("Conveyor>LinearCrossEntropy", cross_entropy);
  add("Conveyor>LinearTopK", top_k);
}

}  // namespace conveyor
