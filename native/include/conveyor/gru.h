/* The GRU on a CPU, forward and backward; types, memory, resets and errors as in lstm.h.
 *
 * Cho et al. 2014 (doi:10.3115/v1/D14-1179) in Keras's form, the update gate keeping where it is 1:
 *
 *     z = sigma(x W_z + h' R_z + b_z)     r = sigma(x W_r + h' R_r + b_r)
 *     g = phi(x W_g + b_g + r * (h' R_g + b'_g))     with reset_after, as cuDNN and PyTorch have it
 *     g = phi(x W_g + (r * h') R_g + b_g)            without
 *     h = z * h' + (1 - z) * g
 *
 * where sigma is the recurrent activation and phi the activation.
 *
 * Gates are packed along the last axis in the order update, reset, candidate. In 16 bits the hidden
 * state is added up in float.
 */
#ifndef CONVEYOR_GRU_H
#define CONVEYOR_GRU_H

#include "conveyor/lstm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The five states, in the order of the Python vocabulary. */
enum conveyor_gru_state {
  CONVEYOR_GRU_HIDDEN_STATES = 0,
  CONVEYOR_GRU_HIDDEN_STATE = 1,
  CONVEYOR_GRU_UPDATE_GATES = 2,
  CONVEYOR_GRU_RESET_GATES = 3,
  CONVEYOR_GRU_CANDIDATES = 4,
  CONVEYOR_GRU_STATES = 5
};

/* One GRU over one batch of sequences: what both directions are told. */
typedef struct conveyor_gru {
  size_t size; /* sizeof(struct conveyor_gru) */
  int32_t dtype;
  int32_t activation;
  int32_t recurrent_activation;
  int32_t reset_after;             /* 1: the reset gate acts on h' R + b', 0: on h' */
  int32_t go_backwards;            /* 1: read the last step first; time axes in that order */
  int32_t dropout_masks;           /* 0 none, 1 shared by the gates, 3 one for each gate */
  int32_t recurrent_dropout_masks; /* likewise */
  int32_t threads;                 /* at most so many; 0: conveyor_threads() */
  double alpha[2], beta[2];        /* of activation and recurrent_activation */
  int64_t batch, time_steps, features, units;

  const void* x;                /* real [B,T,F] */
  const void* kernel;           /* real [F,3U] */
  const void* recurrent_kernel; /* real [U,3U] */
  const void* bias;             /* real [2,3U] with reset_after, else [3U]; or null for none */
  const void* hidden_state;     /* real [B,U] before the first step, or null for zeros */
  const uint8_t* mask;          /* [B,T], 0 where the step is skipped, or null for none */
  const void* dropout_mask;     /* real [B,F], or [3,B,F]: factors on x */
  const void* recurrent_dropout_mask; /* real [B,U], or [3,B,U]: on h' where gates read it */
  const uint8_t* resets;        /* [B,T], a conveyor_reset for each step, or null for none */

  /* Called by the calling thread about every 50 ms; other than 0 ends the call. May be null. */
  int (*interrupted)(void);
} conveyor_gru;

/* What the forward pass writes; null where it is not wanted, and then not computed. */
typedef struct conveyor_gru_outputs {
  size_t size;                       /* sizeof(struct conveyor_gru_outputs) */
  void* states[CONVEYOR_GRU_STATES]; /* real; [B,U] for hidden_state, [B,T,U] for the others */
  void* reserve;                     /* conveyor_gru_reserve_bytes(), as in lstm.h */
} conveyor_gru_outputs;

/* What the backward pass reads and writes. Gradients of one scalar throughout. */
typedef struct conveyor_gru_gradients {
  size_t size;               /* sizeof(struct conveyor_gru_gradients) */
  const void* hidden_states; /* real [B,T,U], as the forward pass returned it */
  const void* reserve;       /* as the forward pass wrote it */
  const void* d_states[CONVEYOR_GRU_STATES]; /* real, shapes as of the states; null is zeros */

  /* Written, not added to; null where not wanted, and then not computed. */
  void* d_x;                      /* real [B,T,F]; zero at skipped steps */
  void* d_kernel;                 /* real [F,3U] */
  void* d_recurrent_kernel;       /* real [U,3U] */
  void* d_bias;                   /* real, shape of bias */
  void* d_hidden_state;           /* real [B,U] */
  void* d_dropout_mask;           /* real, shape of dropout_mask */
  void* d_recurrent_dropout_mask; /* real, shape of recurrent_dropout_mask */
} conveyor_gru_gradients;

/* Bytes of `reserve`; -1 where that number does not fit. Independent of the target. */
CONVEYOR_API int64_t conveyor_gru_reserve_bytes(int32_t dtype, int64_t batch, int64_t time_steps,
                                                int64_t units);

/* Computes the states that `outputs` has room for. Returns a conveyor_status. */
CONVEYOR_API int conveyor_gru_forward(const conveyor_gru* gru,
                                      const conveyor_gru_outputs* outputs);

/* A stream of it: copies kernel, recurrent_kernel and bias, for batches of up to gru->batch rows; its
 * x, state, masks and resets are not read. Null on failure: see *status. Steps are made and the
 * stream is freed as in lstm.h. */
CONVEYOR_API conveyor_stream* conveyor_gru_stream_new(const conveyor_gru* gru, int* status);

/* The gradients of the forward pass of the same `gru`. Returns a conveyor_status. */
CONVEYOR_API int conveyor_gru_backward(const conveyor_gru* gru,
                                       const conveyor_gru_gradients* gradients);

#ifdef __cplusplus
}
#endif
#endif
