// What every entry point does around the kernels.
#pragma once

#include <new>

#include "checks.h"
#include "threads.h"

namespace conveyor {

// Lets nothing escape but a status.
template <class Run>
int guarded(Run run) noexcept {
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return CONVEYOR_OUT_OF_MEMORY;
  } catch (...) {
    return invalid("an internal error");
  }
}

// A request with the number of threads settled for the whole call, whatever other threads set
// meanwhile: memory is taken for so many members.
template <class Request>
Request settled(Request request) {
  request.threads = largest_team(request.threads);
  return request;
}

}  // namespace conveyor
