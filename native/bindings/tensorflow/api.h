/* The part of TensorFlow's C API that an op needs, found in the running process.
 *
 * Nothing of TensorFlow is needed to build this, and no version of its C++ classes enters: these
 * functions (tensorflow/c/{ops,kernels,tf_tensor,tf_status}.h) are what it keeps stable.
 */
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
struct TF_Status;
struct TF_Tensor;
struct TF_OpDefinitionBuilder;
struct TF_ShapeInferenceContext;
struct TF_KernelBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
}

namespace conveyor {

// TF_Code
enum { TF_OK = 0, TF_CANCELLED = 1, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8 };
// TF_DataType
enum { TF_FLOAT = 1, TF_DOUBLE = 2, TF_INT32 = 3, TF_UINT8 = 4, TF_BOOL = 10, TF_BFLOAT16 = 14 };

using ShapeFunction = void (*)(TF_ShapeInferenceContext*, TF_Status*);
using Create = void* (*)(TF_OpKernelConstruction*);
using Compute = void (*)(void* kernel, TF_OpKernelContext*);
using Delete = void (*)(void* kernel);

#define CONVEYOR_TF_FUNCTIONS(X)                                                               \
  X(TF_Status*, TF_NewStatus, ())                                                              \
  X(void, TF_DeleteStatus, (TF_Status*))                                                       \
  X(void, TF_SetStatus, (TF_Status*, int code, const char* message))                           \
  X(int, TF_GetCode, (const TF_Status*))                                                       \
  X(int, TF_TensorType, (const TF_Tensor*))                                                    \
  X(int, TF_NumDims, (const TF_Tensor*))                                                       \
  X(int64_t, TF_Dim, (const TF_Tensor*, int axis))                                             \
  X(void*, TF_TensorData, (const TF_Tensor*))                                                  \
  X(size_t, TF_TensorByteSize, (const TF_Tensor*))                                             \
  X(void, TF_DeleteTensor, (TF_Tensor*))                                                       \
  X(TF_OpDefinitionBuilder*, TF_NewOpDefinitionBuilder, (const char* name))                    \
  X(void, TF_OpDefinitionBuilderAddInput, (TF_OpDefinitionBuilder*, const char*))              \
  X(void, TF_OpDefinitionBuilderAddOutput, (TF_OpDefinitionBuilder*, const char*))             \
  X(void, TF_OpDefinitionBuilderAddAttr, (TF_OpDefinitionBuilder*, const char*))               \
  X(void, TF_OpDefinitionBuilderSetShapeInferenceFunction,                                     \
    (TF_OpDefinitionBuilder*, ShapeFunction))                                                  \
  X(void, TF_ShapeInferenceContextSetUnknownShape, (TF_ShapeInferenceContext*, TF_Status*))    \
  X(void, TF_RegisterOpDefinition, (TF_OpDefinitionBuilder*, TF_Status*))                      \
  X(TF_KernelBuilder*, TF_NewKernelBuilder,                                                    \
    (const char* op, const char* device, Create, Compute, Delete))                             \
  X(void, TF_RegisterKernelBuilder, (const char* name, TF_KernelBuilder*, TF_Status*))         \
  X(void, TF_OpKernelConstruction_GetAttrInt64,                                                \
    (TF_OpKernelConstruction*, const char* attr, int64_t* value, TF_Status*))                  \
  X(void, TF_OpKernelConstruction_GetAttrSize,                                                 \
    (TF_OpKernelConstruction*, const char* attr, int32_t* list, int32_t* total, TF_Status*))   \
  X(void, TF_OpKernelConstruction_GetAttrInt64List,                                            \
    (TF_OpKernelConstruction*, const char* attr, int64_t* values, int most, TF_Status*))       \
  X(void, TF_OpKernelConstruction_GetAttrFloat,                                                \
    (TF_OpKernelConstruction*, const char* attr, float* value, TF_Status*))                    \
  X(void, TF_OpKernelConstruction_Failure, (TF_OpKernelConstruction*, TF_Status*))             \
  X(void, TF_OpKernelContext_Failure, (TF_OpKernelContext*, TF_Status*))                       \
  X(int, TF_NumInputs, (TF_OpKernelContext*))                                                  \
  X(void, TF_GetInput, (TF_OpKernelContext*, int at, TF_Tensor**, TF_Status*))                 \
  X(TF_Tensor*, TF_AllocateOutput,                                                             \
    (TF_OpKernelContext*, int at, int dtype, const int64_t* shape, int axes, size_t bytes,     \
     TF_Status*))

// Each as a pointer of its own name, set once by find_tensorflow().
#define CONVEYOR_TF_DECLARE(result, name, arguments) extern result(*name) arguments;
CONVEYOR_TF_FUNCTIONS(CONVEYOR_TF_DECLARE)
#undef CONVEYOR_TF_DECLARE

// The name of a function that this process has not, or null where all are there.
const char* find_tensorflow();

}  // namespace conveyor
