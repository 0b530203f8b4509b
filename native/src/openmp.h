// The threads of an OpenMP runtime that a framework has started, for our teams.
#pragma once

#include "threads.h"

namespace conveyor {

// Like run_team(), for callers that are alone. False where it did nothing: there is no such
// runtime, or it gives one thread only.
bool run_openmp_team(int wanted, void (*task)(void*, Team&, int), void* context);

}  // namespace conveyor
