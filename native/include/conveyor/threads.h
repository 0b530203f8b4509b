/* Threads of the process that conveyor may compute on besides its own. */
#ifndef CONVEYOR_THREADS_H
#define CONVEYOR_THREADS_H

#include "conveyor/lstm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Functions of one OpenMP runtime, as libgomp, and others for its sake, export them. */
typedef struct conveyor_openmp {
  size_t size; /* sizeof(struct conveyor_openmp) */
  void (*parallel)(void (*function)(void*), void* data, unsigned threads,
                   unsigned flags); /* GOMP_parallel */
  int (*get_thread_num)(void);      /* omp_get_thread_num, and so on */
  int (*get_num_threads)(void);
  int (*get_max_threads)(void);
} conveyor_openmp;

/* From now on calls that run alone take the threads of this runtime; null: conveyor's own again.
 * For a framework on OpenMP, like PyTorch: its threads spin for milliseconds after each of its
 * operations, on the very cores that other threads would need. A child of fork takes conveyor's
 * own. CONVEYOR_INVALID for an incomplete runtime, or another than the one before. */
CONVEYOR_API int conveyor_use_openmp(const conveyor_openmp* runtime);

#ifdef __cplusplus
}
#endif
#endif
