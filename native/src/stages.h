// Requests whose step has products or means between its gates and its hidden state.
#pragma once

#include "conveyor/lstm.h"

namespace conveyor {

// Then a step is computed in stages, each for all units of a row before the next begins.
inline bool in_stages(const conveyor_lstm& l) {
  return l.layer_norm || l.cell_norm || l.output_transform || l.projection;
}

// What the reserve holds of each unit and step then, all of it states: what the products made of
// x and h', together or (CONVEYOR_JOINT) each by itself; the cell state; and c W5 + b5.
inline int64_t states_kept_in_stages(const conveyor_lstm& l) {
  return (l.layer_norm == CONVEYOR_JOINT ? 8 : 4) + 1 + (l.output_transform ? 1 : 0);
}

// And of each row and step, of a layer normalisation of the gates: mean and inverse of each.
constexpr int kMomentsOfANorm = 8;

inline int64_t moments_kept_in_stages(const conveyor_lstm& l) {
  return l.layer_norm == CONVEYOR_JOINT ? 2 * kMomentsOfANorm : l.layer_norm ? kMomentsOfANorm : 0;
}

}  // namespace conveyor
