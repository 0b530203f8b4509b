/* What this machine can do at best, measured: a kernel is judged by how near it comes. */
#ifndef CONVEYOR_PROBE_H
#define CONVEYOR_PROBE_H

#include "conveyor/lstm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Floating-point operations per second (a multiply-add is two) of `threads` threads together,
 * all in registers, with the widest instructions that this processor has; 0 where it has none
 * for the dtype, and for less than one thread. Takes about `seconds`. */
CONVEYOR_API double conveyor_probe_flops(int32_t dtype, int32_t threads, double seconds);

/* Bytes read per second by `threads` threads together, each again and again over `bytes` of
 * its own; 0 where there is no such memory. Takes about `seconds`. */
CONVEYOR_API double conveyor_probe_read(int64_t bytes, int32_t threads, double seconds);

#ifdef __cplusplus
}
#endif
#endif
