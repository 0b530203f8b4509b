// One step at a time on weights that were packed once.
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "checks.h"
#include "conveyor/lstm.h"
#include "target.h"

struct conveyor_stream {
  conveyor_lstm lstm;
  std::vector<char> kernel, recurrent_kernel, bias, hidden, cell;
};

namespace {
void copy(std::vector<char>& to, const void* from, int64_t bytes) {
  if (from) to.assign(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
}
}  // namespace

extern "C" {

conveyor_stream* conveyor_stream_new(const conveyor_lstm* lstm, int* status) {
  *status = conveyor::check(lstm);
  if (*status) return nullptr;
  try {
    auto stream = std::make_unique<conveyor_stream>();
    auto& l = stream->lstm = *lstm;
    const int64_t real = l.dtype == CONVEYOR_FLOAT64 ? 8 : l.dtype == CONVEYOR_FLOAT32 ? 4 : 2;
    copy(stream->kernel, l.kernel, l.features * 4 * l.units * real);
    copy(stream->recurrent_kernel, l.recurrent_kernel, l.units * 4 * l.units * real);
    copy(stream->bias, l.bias, 4 * l.units * real);
    stream->hidden.resize(l.batch * l.units * real);
    stream->cell.resize(l.batch * l.units * (real == 2 ? 4 : real));
    l.kernel = stream->kernel.data();
    l.recurrent_kernel = stream->recurrent_kernel.data();
    l.bias = l.bias ? stream->bias.data() : nullptr;
    l.mask = nullptr;
    l.dropout_masks = l.recurrent_dropout_masks = 0;
    l.time_steps = 1;
    return stream.release();
  } catch (const std::bad_alloc&) {
    *status = CONVEYOR_OUT_OF_MEMORY;
    return nullptr;
  }
}

int conveyor_stream_step(conveyor_stream* s, int64_t batch, const void* x, void* hidden_state,
                         void* cell_state) {
  if (!s || batch < 0 || batch > s->lstm.batch) return conveyor::invalid("batch: over the stream's");
  auto l = s->lstm;
  l.batch = batch;
  l.x = x;
  std::memcpy(s->hidden.data(), hidden_state, s->hidden.size() / s->lstm.batch * batch);
  std::memcpy(s->cell.data(), cell_state, s->cell.size() / s->lstm.batch * batch);
  l.hidden_state = s->hidden.data();
  l.cell_state = s->cell.data();
  conveyor_lstm_outputs out{};
  out.size = sizeof out;
  out.states[CONVEYOR_HIDDEN_STATE] = hidden_state;
  out.states[CONVEYOR_CELL_STATE] = cell_state;
  return conveyor::target().forward(l, out);
}

void conveyor_stream_free(conveyor_stream* stream) { delete stream; }
}
