// A stream of the core that is freed where it ends.
#pragma once

#include <memory>

#include "conveyor/gru.h"
#include "check.h"

struct FreeStream {
  void operator()(conveyor_stream* stream) const { conveyor_stream_free(stream); }
};
using Stream = std::unique_ptr<conveyor_stream, FreeStream>;

inline Stream stream_of(const conveyor_lstm& lstm) {
  int status = -1;
  Stream stream(conveyor_stream_new(&lstm, &status));
  CHECK_EQUAL(status, CONVEYOR_OK);
  return stream;
}

inline Stream stream_of(const conveyor_gru& gru) {
  int status = -1;
  Stream stream(conveyor_gru_stream_new(&gru, &status));
  CHECK_EQUAL(status, CONVEYOR_OK);
  return stream;
}
