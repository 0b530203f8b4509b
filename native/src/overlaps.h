// Refuses results that lie on other arrays: kernels write some before they have read all.
#pragma once

#include "conveyor/lstm.h"

namespace conveyor {

// For requests that are valid otherwise. As check() does.
int check_overlaps(const conveyor_lstm& lstm, const conveyor_lstm_outputs& outputs);
int check_overlaps(const conveyor_lstm& lstm, const conveyor_lstm_gradients& gradients);

}  // namespace conveyor
