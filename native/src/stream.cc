// One step at a time on weights that were packed once.
#include <memory>
#include <new>

#include "checks.h"
#include "conveyor/lstm.h"
#include "stages.h"
#include "target.h"
#include "threads.h"

struct conveyor_stream {
  int64_t batch;
  std::unique_ptr<conveyor::Stream> stream;
};

extern "C" {

conveyor_stream* conveyor_stream_new(const conveyor_lstm* lstm, int* status) {
  *status = conveyor::check(lstm);
  if (!*status && conveyor::in_stages(*lstm))
    *status = conveyor::invalid("layer_norm, cell_norm, output_transform, projection: no stream");
  if (*status) return nullptr;
  conveyor_lstm l = *lstm;
  l.threads = conveyor::largest_team(l.threads);  // it has memory for so many, now and later
  try {
    std::unique_ptr<conveyor::Stream> stream(conveyor::target().stream(l));
    return new conveyor_stream{lstm->batch, std::move(stream)};
  } catch (const std::bad_alloc&) {
    *status = CONVEYOR_OUT_OF_MEMORY;
    return nullptr;
  }
}

int conveyor_stream_step(conveyor_stream* stream, int64_t batch, const void* x, void* hidden_state,
                         void* cell_state) {
  conveyor::no_error();
  if (!stream || batch < 0 || batch > stream->batch)
    return conveyor::invalid("batch: more rows than the stream was made for");
  if (batch && (!x || !hidden_state || !cell_state)) return conveyor::invalid("x, states: null");
  stream->stream->step(batch, x, hidden_state, cell_state);
  return CONVEYOR_OK;
}

void conveyor_stream_free(conveyor_stream* stream) { delete stream; }
}
