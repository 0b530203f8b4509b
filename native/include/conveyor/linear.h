/* The output layer of a translator on a CPU, with what follows it at once: the cross entropy of
 * softmax and its gradients, or the largest logits. The [N,V] logits are never there as a whole.
 *
 *     z = x K^T + b        l = log sum over V of exp z
 *
 * With the label y of a row and label smoothing e (Szegedy et al. 2016,
 * doi:10.1109/CVPR.2016.308) the loss of a row, and the gradient of its logits, are
 *
 *     l - (1 - e) z[y] - e mean(z)        d = exp(z - l) - (1 - e) [y] - e / V
 *
 * Axes:   N rows, A features, V classes. Arrays, memory and threads as conveyor/lstm.h has them.
 * Types:  "real" is float for CONVEYOR_FLOAT32 and bfloat16 for CONVEYOR_BFLOAT16; there is no
 *         other. Products are summed in float.
 */
#ifndef CONVEYOR_LINEAR_H
#define CONVEYOR_LINEAR_H

#include "conveyor/lstm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A linear layer over rows: what each function below is told. */
typedef struct conveyor_linear {
  size_t size; /* sizeof(struct conveyor_linear) */
  int32_t dtype;
  int32_t threads; /* at most so many; 0: conveyor_threads() */
  int64_t rows, features, classes;
  const void* x;      /* real [N,A] */
  const void* kernel; /* real [V,A], as an embedding has it */
  const float* bias;  /* float [V], or null for none */
  /* Called by the calling thread about every 50 ms; other than 0 ends the call. May be null. */
  int (*interrupted)(void);
} conveyor_linear;

/* Cross entropies, and the gradients of the sum of the losses. Written, not added to; null where
 * not wanted, and then not computed. */
typedef struct conveyor_cross_entropy {
  size_t size;            /* sizeof(struct conveyor_cross_entropy) */
  const int32_t* labels;  /* [N] */
  int32_t ignored;        /* a row with this label costs nothing: zeros are written for it */
  float label_smoothing;  /* from 0 to below 1 */
  float* losses;          /* [N] */
  float* cross_entropies; /* [N], without label smoothing */
  void* d_x;              /* real [N,A] */
  void* d_kernel;         /* real [V,A] */
  float* d_bias;          /* [V] */
} conveyor_cross_entropy;

/* Returns a conveyor_status; CONVEYOR_INVALID also for a label beyond the classes. */
CONVEYOR_API int conveyor_linear_cross_entropy(const conveyor_linear* linear,
                                               const conveyor_cross_entropy* losses);

/* The k largest logits of each row, largest first, of equal ones the first class first. */
typedef struct conveyor_top_k {
  size_t size;      /* sizeof(struct conveyor_top_k) */
  int64_t k;        /* from 1 to V */
  float* values;    /* [N,k] */
  int32_t* indices; /* [N,k] */
  float* totals;    /* [N], l; null where not wanted */
} conveyor_top_k;

CONVEYOR_API int conveyor_linear_top_k(const conveyor_linear* linear,
                                       const conveyor_top_k* largest);

#ifdef __cplusplus
}
#endif
#endif
