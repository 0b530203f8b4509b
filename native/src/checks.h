// Refuses requests that cannot be computed; sizes are checked before anything is allocated.
#pragma once

#include "conveyor/gru.h"
#include "conveyor/linear.h"
#include "conveyor/lstm.h"

namespace conveyor {

// Each returns a conveyor_status and, where that is not OK, leaves the reason for
// conveyor_error().
int check(const conveyor_lstm* lstm);
int check(const conveyor_lstm* lstm, const conveyor_lstm_outputs* outputs);
int check(const conveyor_lstm* lstm, const conveyor_lstm_gradients* gradients);

int check(const conveyor_linear* linear, const conveyor_cross_entropy* losses);
int check(const conveyor_linear* linear, const conveyor_top_k* largest);

int check(const conveyor_gru* gru);
int check(const conveyor_gru* gru, const conveyor_gru_outputs* outputs);
int check(const conveyor_gru* gru, const conveyor_gru_gradients* gradients);

int invalid(const char* reason);
void no_error();

// Of an element that is real, or state, as the header says it.
int64_t real_bytes(int32_t dtype);
int64_t state_bytes(int32_t dtype);

// a * b * ..., or -1 where that does not fit.
int64_t product(int64_t a, int64_t b);
template <class... Rest>
int64_t product(int64_t a, int64_t b, Rest... rest) {
  const int64_t ab = product(a, b);
  return ab < 0 ? -1 : product(ab, rest...);
}

}  // namespace conveyor
