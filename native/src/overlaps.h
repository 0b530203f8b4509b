// Refuses results that lie on other arrays: kernels write some before they have read all.
#pragma once

#include "conveyor/gru.h"
#include "conveyor/linear.h"
#include "conveyor/lstm.h"

namespace conveyor {

// For requests that are valid otherwise. As check() does.
int check_overlaps(const conveyor_lstm& lstm, const conveyor_lstm_outputs& outputs);
int check_overlaps(const conveyor_lstm& lstm, const conveyor_lstm_gradients& gradients);
int check_overlaps(const conveyor_linear& linear, const conveyor_cross_entropy& losses);
int check_overlaps(const conveyor_linear& linear, const conveyor_top_k& largest);
int check_overlaps(const conveyor_gru& gru, const conveyor_gru_outputs& outputs);
int check_overlaps(const conveyor_gru& gru, const conveyor_gru_gradients& gradients);

}  // namespace conveyor
