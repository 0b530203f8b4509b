// One step at a time on weights that were packed once.
#include <memory>

#include "conveyor/gru.h"
#include "conveyor/lstm.h"
#include "guarded.h"
#include "target.h"

struct conveyor_stream {
  int64_t batch;
  bool has_cell_state;
  std::unique_ptr<conveyor::Stream> stream;
};

namespace conveyor {
namespace {

// For a request that was checked; it has memory for as many threads as there may be later.
template <class Request, class Make>
conveyor_stream* new_stream(const Request* request, bool has_cell_state, Make make, int* status) {
  *status = check(request);
  conveyor_stream* made = nullptr;
  if (*status) return made;
  *status = guarded([&] {
    std::unique_ptr<Stream> stream((target().*make)(settled(*request)));
    made = new conveyor_stream{request->batch, has_cell_state, std::move(stream)};
    return int{CONVEYOR_OK};
  });
  return made;
}

}  // namespace
}  // namespace conveyor

extern "C" {

conveyor_stream* conveyor_stream_new(const conveyor_lstm* lstm, int* status) {
  return conveyor::new_stream(lstm, true, &conveyor::Target::stream, status);
}

conveyor_stream* conveyor_gru_stream_new(const conveyor_gru* gru, int* status) {
  return conveyor::new_stream(gru, false, &conveyor::Target::gru_stream, status);
}

int conveyor_stream_step(conveyor_stream* stream, int64_t batch, const void* x, void* hidden_state,
                         void* cell_state) {
  conveyor::no_error();
  if (!stream || batch < 0 || batch > stream->batch)
    return conveyor::invalid("batch: more rows than the stream was made for");
  if (batch && (!x || !hidden_state || (stream->has_cell_state && !cell_state)))
    return conveyor::invalid("x, states: null");
  stream->stream->step(batch, x, hidden_state, cell_state);
  return CONVEYOR_OK;
}

void conveyor_stream_free(conveyor_stream* stream) { delete stream; }
}
