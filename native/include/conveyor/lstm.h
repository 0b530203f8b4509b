/* The LSTM on a CPU, forward and backward: the one header of conveyor's native core.
 *
 * The maths is Keras's (Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with
 * the forget gate of Gers, Schmidhuber & Cummins 2000, doi:10.1162/089976600300015015):
 *
 *     i = sigma(x W_i + h' R_i + b_i)     f = sigma(x W_f + h' R_f + b_f)
 *     g = phi  (x W_c + h' R_c + b_c)     o = sigma(x W_o + h' R_o + b_o)
 *     c = f * c' + i * g                  h = o * phi(c)
 *
 * where ' is the step before, sigma the recurrent activation and phi the activation. What a
 * request may add to them, each neutral where it is zero or null:
 *
 *     z_i += p_i * c', z_f += p_f * c', z_o += p_o * c    peephole (Gers & Schmidhuber 2000)
 *     i = 1 - f                                           coupled (Greff et al. 2015)
 *     z = max(-clip, min(clip, z)), likewise c            clip (ONNX), cell_clip (TensorFlow)
 *     h = o * psi(c)                                      output_activation
 *     z = LN(x W + h' R) s + b, each gate by itself       layer_norm = CONVEYOR_GATES
 *     z = LN(x W) s_x + LN(h' R) s_h + b, all gates       layer_norm = CONVEYOR_JOINT (Ba et al. 2016)
 *     h = o * psi(u), u = LN(c) s + s'                    cell_norm
 *     h = o * psi(u), u = c W5 + b5                       output_transform
 *     h = (o * psi(u)) P                                  projection (Sak et al. 2014)
 *     h = k h' + (1 - k) h, likewise c                    zoneout (Krueger et al. 2017); what
 *                                                         leaves the cell is c before it
 *
 * in the order: normalise z, peephole, clip, gates, c, clip c, normalise c, W5, psi, P, zoneout;
 * LN(a) = (a - mean(a)) / sqrt(var(a) + 1e-5). CONVEYOR_JOINT with `coupled` leaves the input gate
 * out of the means.
 *
 * Axes:   B batch, T time steps, F features, U units, H numbers of a hidden state: U, unless there
 *         is a projection. The last axis is contiguous and all arrays are dense, so [B,T,F] has the
 *         strides T*F, F, 1.
 * Gates:  packed along the last axis of the weights in the order input, forget, candidate,
 *         output, so [F,4U] holds W_i | W_f | W_c | W_o.
 * Types:  "real" is what `dtype` says. "state" is float for CONVEYOR_BFLOAT16 and the same as
 *         real otherwise: in 16 bits the cell state would forget small updates.
 * Memory: nothing is kept between calls but a workspace; the caller owns every array. An
 *         output that overlaps any other array is refused. Inputs are never written. Pointers need
 *         only the alignment of their element.
 *
 * No function throws, prints, or ends the process. All are safe to call from many threads.
 */
#ifndef CONVEYOR_LSTM_H
#define CONVEYOR_LSTM_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define CONVEYOR_API __declspec(dllexport)
#else
#define CONVEYOR_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised by one whenever a struct or the meaning of a field changes. */
#define CONVEYOR_ABI 6

enum conveyor_dtype { CONVEYOR_FLOAT32 = 0, CONVEYOR_FLOAT64 = 1, CONVEYOR_BFLOAT16 = 2 };

enum conveyor_activation {
  CONVEYOR_TANH = 0,
  CONVEYOR_SIGMOID = 1,
  CONVEYOR_HARD_SIGMOID = 2, /* Keras 3's: relu6(z + 3) / 6 */
  CONVEYOR_RELU = 3,
  CONVEYOR_LINEAR = 4,
  /* Of z, a = alpha and b = beta. */
  CONVEYOR_AFFINE = 5,           /* a z + b */
  CONVEYOR_LEAKY_RELU = 6,       /* z, where negative a z */
  CONVEYOR_THRESHOLDED_RELU = 7, /* z, where not above a 0 */
  CONVEYOR_SCALED_TANH = 8,      /* a tanh(b z) */
  CONVEYOR_CLAMPED_AFFINE = 9,   /* a z + b within 0 and 1: ONNX's HardSigmoid */
  CONVEYOR_ELU = 10,             /* b z, where negative b a (exp(z) - 1) */
  CONVEYOR_SOFTSIGN = 11,        /* z / (1 + |z|) */
  CONVEYOR_SOFTPLUS = 12,        /* log(1 + exp(z)) */
  CONVEYOR_CLAMP = 13,           /* z within a and b */
  CONVEYOR_SILU = 14,            /* z sigmoid(z) */
  CONVEYOR_HARD_SILU = 15,       /* z relu6(z + 3) / 6 */
  CONVEYOR_GELU = 16,            /* z times the normal distribution's Phi(z) */
  CONVEYOR_GELU_TANH = 17,       /* the same, approximated with a tanh */
  CONVEYOR_EXPONENTIAL = 18,     /* exp(z) */
  CONVEYOR_MISH = 19,            /* z tanh(softplus(z)) */
  CONVEYOR_LOG_SIGMOID = 20,     /* -log(1 + exp(-z)) */
  CONVEYOR_TANH_SHRINK = 21,     /* z - tanh(z) */
  CONVEYOR_SOFT_SHRINK = 22,     /* z moved by a towards zero, and not past it */
  CONVEYOR_HARD_SHRINK = 23,     /* z, where |z| is not above a 0 */
  CONVEYOR_SQUAREPLUS = 24,      /* (z + sqrt(z^2 + a)) / 2 */
  CONVEYOR_SPARSE_PLUS = 25,     /* 0 up to -1, (z + 1)^2 / 4 up to 1, z */
  CONVEYOR_ACTIVATIONS = 26
};

/* The three functions of a request, in the order of its alpha and beta. */
enum conveyor_function {
  CONVEYOR_PHI = 0,   /* activation: of the candidate */
  CONVEYOR_SIGMA = 1, /* recurrent_activation: of the gates */
  CONVEYOR_PSI = 2,   /* output_activation: of the cell state on its way out */
  CONVEYOR_FUNCTIONS = 3
};

enum conveyor_gate {
  CONVEYOR_INPUT_GATE = 0,
  CONVEYOR_FORGET_GATE = 1,
  CONVEYOR_CANDIDATE = 2,
  CONVEYOR_OUTPUT_GATE = 3
};

enum conveyor_layer_norm {
  CONVEYOR_NO_NORM = 0,
  CONVEYOR_GATES = 1,
  CONVEYOR_JOINT = 2
};

/* What h' and c' are at a step, whether it is skipped or not. */
enum conveyor_reset {
  CONVEYOR_GO_ON = 0,         /* the states after the step before */
  CONVEYOR_AT_ZERO = 1,       /* zeros; every number that is not here means this, too */
  CONVEYOR_AT_THE_START = 2   /* hidden_state and cell_state, as before the first step */
};

enum conveyor_status {
  CONVEYOR_OK = 0,
  CONVEYOR_INVALID = 1,       /* conveyor_error() says which field, and why */
  CONVEYOR_OUT_OF_MEMORY = 2, /* also where a size does not fit an address */
  CONVEYOR_INTERRUPTED = 3    /* `interrupted` said so; the outputs hold anything */
};

/* The eight states, in the order of the Python vocabulary. */
enum conveyor_state {
  CONVEYOR_HIDDEN_STATES = 0,
  CONVEYOR_CELL_STATES = 1,
  CONVEYOR_HIDDEN_STATE = 2,
  CONVEYOR_CELL_STATE = 3,
  CONVEYOR_INPUT_GATES = 4,
  CONVEYOR_FORGET_GATES = 5,
  CONVEYOR_CANDIDATES = 6,
  CONVEYOR_OUTPUT_GATES = 7,
  CONVEYOR_STATES = 8
};

/* One LSTM over one batch of sequences: what both directions are told. */
typedef struct conveyor_lstm {
  size_t size; /* sizeof(struct conveyor_lstm) */
  int32_t dtype;
  int32_t activation;
  int32_t recurrent_activation;
  int32_t go_backwards;            /* 1: read the last step first; time axes in that order */
  int32_t dropout_masks;           /* 0 none, 1 shared by the gates, 4 one for each gate */
  int32_t recurrent_dropout_masks; /* likewise */
  int32_t threads;                 /* at most so many; 0: conveyor_threads() */
  int32_t output_activation;
  int32_t coupled;                 /* 1: i = 1 - f, and the input gate's weights mean nothing */
  int32_t layer_norm;              /* a conveyor_layer_norm of what goes into the gates */
  int32_t cell_norm;               /* 1: of the cell state on its way out */
  int32_t output_transform;        /* 1: W5 and b5 */
  double alpha[CONVEYOR_FUNCTIONS], beta[CONVEYOR_FUNCTIONS];
  double clip, cell_clip;          /* 0: none */
  double hidden_part, cell_part;   /* of zoneout, where no array says which units keep theirs */
  int64_t batch, time_steps, features, units;
  int64_t projection;              /* H, or 0 for none */

  const void* x;                /* real [B,T,F] */
  const void* kernel;           /* real [F,4U] */
  const void* recurrent_kernel; /* real [H,4U] */
  const void* bias;             /* real [4U], or null for none */
  const void* hidden_state;     /* real [B,H] before the first step, or null for zeros */
  const void* cell_state;       /* state [B,U] before the first step, or null for zeros */
  const uint8_t* mask;          /* [B,T], 0 where the step is skipped, or null for none. A
                                   skipped step repeats both states, its gates are zero, and
                                   its input is not read. */
  const void* dropout_mask;     /* real [B,F], or [4,B,F]: factors on x */
  const void* recurrent_dropout_mask; /* real [B,H], or [4,B,H]: factors on h' */
  const uint8_t* resets;        /* [B,T], a conveyor_reset for each step, or null for none */
  const void* peephole;         /* real [3U]: p_i, p_f, p_o, or null for none */
  const uint8_t* hidden_zoneout; /* [B,T,H], 1 where h is h', or null for hidden_part of it */
  const uint8_t* cell_zoneout;   /* [B,T,U], likewise */
  const void* output_kernel;     /* real [U,U]: W5 */
  const void* output_bias;       /* real [U]: b5 */
  const void* projection_kernel; /* real [U,H]: P */
  const void* gate_scale;        /* real [4U]: s; or [2,4U]: s_x and s_h */
  const void* cell_scale;        /* real [U]: s */
  const void* cell_shift;        /* real [U]: s' */

  /* Called by the calling thread about every 50 ms; other than 0 ends the call. May be null. */
  int (*interrupted)(void);
} conveyor_lstm;

/* What the forward pass writes; null where it is not wanted, and then not computed. */
typedef struct conveyor_lstm_outputs {
  size_t size;                   /* sizeof(struct conveyor_lstm_outputs) */
  void* states[CONVEYOR_STATES]; /* real; [B,U] for the final two, [B,T,U] for the
                                    others; H for U where they are hidden */
  void* reserve; /* conveyor_lstm_reserve_bytes() for the backward pass; opaque, and only for
                    this version on this machine */
} conveyor_lstm_outputs;

/* What the backward pass reads and writes. Gradients of one scalar throughout. */
typedef struct conveyor_lstm_gradients {
  size_t size;                       /* sizeof(struct conveyor_lstm_gradients) */
  const void* hidden_states;         /* real [B,T,H], as the forward pass returned it */
  const void* reserve;               /* as the forward pass wrote it */
  const void* d_states[CONVEYOR_STATES]; /* real, shapes as of the states; null is zeros */

  /* Written, not added to; null where not wanted, and then not computed. */
  void* d_x;                      /* real [B,T,F]; zero at skipped steps */
  void* d_kernel;                 /* real [F,4U] */
  void* d_recurrent_kernel;       /* real [H,4U] */
  void* d_bias;                   /* real [4U] */
  void* d_hidden_state;           /* real [B,H] */
  void* d_cell_state;             /* state [B,U] */
  void* d_dropout_mask;           /* real, shape of dropout_mask */
  void* d_recurrent_dropout_mask; /* real, shape of recurrent_dropout_mask */
  void* d_peephole;               /* real [3U] */
  void* d_output_kernel;          /* real [U,U] */
  void* d_output_bias;            /* real [U] */
  void* d_projection_kernel;      /* real [U,H] */
  void* d_gate_scale;             /* real, shape of gate_scale */
  void* d_cell_scale;             /* real [U] */
  void* d_cell_shift;             /* real [U] */
} conveyor_lstm_gradients;

/* Bytes of `reserve`; -1 where that number does not fit. So much for each row and step, whatever
 * the target; of the request it reads what stands before the addresses. */
CONVEYOR_API int64_t conveyor_lstm_reserve_bytes(const conveyor_lstm* lstm);

/* Computes the states that `outputs` has room for. Returns a conveyor_status. */
CONVEYOR_API int conveyor_lstm_forward(const conveyor_lstm* lstm,
                                       const conveyor_lstm_outputs* outputs);

/* The gradients of the forward pass of the same `lstm`. Returns a conveyor_status. */
CONVEYOR_API int conveyor_lstm_backward(const conveyor_lstm* lstm,
                                        const conveyor_lstm_gradients* gradients);

/* The same for `count` requests, such as the two directions of a layer: side by side, each on its
 * share of the threads, where that is faster. Or a stack: where the `x` of a request is what the one
 * before it writes as hidden_states, and backward its d_states[CONVEYOR_HIDDEN_STATES] what the one
 * before it writes as d_x, it follows that one step by step. Results are those of one call after the
 * other, whose first status that is not OK is returned; none runs where one is invalid. Otherwise
 * the outputs of one must not overlap any array of another. Of `interrupted` the first request's
 * counts, and ends all; of `threads` the largest. */
CONVEYOR_API int conveyor_lstm_forward_together(const conveyor_lstm* const* lstms,
                                                const conveyor_lstm_outputs* const* outputs,
                                                int32_t count);
CONVEYOR_API int conveyor_lstm_backward_together(const conveyor_lstm* const* lstms,
                                                 const conveyor_lstm_gradients* const* gradients,
                                                 int32_t count);

/* Why the last call of this thread was invalid; "" where it was not. */
CONVEYOR_API const char* conveyor_error(void);

/* One step at a time, for streaming: weights are packed once and nothing is allocated later. A
 * stream belongs to one thread at a time. That of a GRU: conveyor_gru_stream_new, in gru.h. */
typedef struct conveyor_stream conveyor_stream;

/* Copies the weights of `lstm`, whatever it adds to the plain one, for batches of up to lstm->batch
 * rows; its x, states, masks, resets and arrays of zoneout are not read. Null on failure: see
 * *status. */
CONVEYOR_API conveyor_stream* conveyor_stream_new(const conveyor_lstm* lstm, int* status);

/* x real [B,F]; hidden_state real [B,H] and cell_state state [B,U] are read and overwritten. Of a
 * GRU hidden_state is state [B,U], and cell_state null. */
CONVEYOR_API int conveyor_stream_step(conveyor_stream* stream, int64_t batch, const void* x,
                                      void* hidden_state, void* cell_state);

CONVEYOR_API void conveyor_stream_free(conveyor_stream* stream);

/* CONVEYOR_ABI of the library. */
CONVEYOR_API int conveyor_abi(void);

/* Instruction sets, slowest first: "scalar", "avx2", "avx512", "avx512_bf16". */
CONVEYOR_API int conveyor_target_count(void);
CONVEYOR_API const char* conveyor_target_name(int target);

/* "" where this machine runs the target, else what it lacks. */
CONVEYOR_API const char* conveyor_target_missing(int target);

/* The target in use: the fastest that runs here, unless conveyor_set_target chose another. */
CONVEYOR_API int conveyor_target(void);
CONVEYOR_API int conveyor_set_target(int target); /* CONVEYOR_INVALID if it cannot run here */

/* The number of threads that a request with threads = 0 gets: what conveyor_set_threads said,
 * else the cores this process may run on. Results do not depend on it. */
CONVEYOR_API int conveyor_threads(void);
CONVEYOR_API int conveyor_set_threads(int threads);

#ifdef __cplusplus
}
#endif
#endif
