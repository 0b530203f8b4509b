#include "request.h"

#include <cmath>
#include <cstring>

#include "real.h"
#include "reference.h"

using namespace conveyor;

const char* const gradient_names[kGradients] = {
    "d_x",          "d_kernel",     "d_recurrent_kernel", "d_bias", "d_hidden_state",
    "d_cell_state", "d_dropout_mask", "d_recurrent_dropout_mask", "d_peephole",
    "d_output_kernel", "d_output_bias", "d_projection_kernel", "d_gate_scale", "d_cell_scale",
    "d_cell_shift"};
const char* const state_names[CONVEYOR_STATES] = {
    "hidden_states", "cell_states",  "hidden_state", "cell_state",
    "input_gates",   "forget_gates", "candidates",   "output_gates"};
const char* const dtype_names[3] = {"float32", "float64", "bfloat16"};

int64_t element_bytes(int dtype) {
  return dtype == CONVEYOR_FLOAT64 ? 8 : dtype == CONVEYOR_FLOAT32 ? 4 : 2;
}

Array::Array(int dtype, int64_t count, int skew) : dtype_(dtype), count_(count) {
  const size_t before = static_cast<size_t>(skew * element_bytes(dtype));
  const size_t size = before + static_cast<size_t>(bytes());
  memory_.reset(std::malloc(size));  // of no elements too: an address that nobody may read
  CHECK(memory_);
  std::memset(memory_.get(), 0xff, size);
  start_ = static_cast<char*>(memory_.get()) + before;
}

double Array::get(int64_t n) const {
  switch (dtype_) {
    case CONVEYOR_FLOAT32: return load<float>(start_, n);
    case CONVEYOR_FLOAT64: return load<double>(start_, n);
    default: return load<bfloat16>(start_, n);
  }
}

void Array::set(int64_t n, double value) {
  switch (dtype_) {
    case CONVEYOR_FLOAT32: return store(static_cast<float*>(start_) + n, value);
    case CONVEYOR_FLOAT64: return store(static_cast<double*>(start_) + n, value);
    default: return store(static_cast<bfloat16*>(start_) + n, value);
  }
}

void Array::fill(Random& random, double low, double high) {
  for (int64_t n = 0; n < count_; ++n) set(n, random.between(low, high));
}

void Array::fill(double value) {
  for (int64_t n = 0; n < count_; ++n) set(n, value);
}

bool Array::same_bytes(const Array& other) const {
  return count_ == other.count_ &&
         (count_ == 0 || std::memcmp(start_, other.start_, static_cast<size_t>(bytes())) == 0);
}

std::string Options::text() const {
  char text[640];
  std::snprintf(text, sizeof text,
                "%s B=%lld T=%lld F=%lld U=%lld activation=%d recurrent_activation=%d "
                "go_backwards=%d bias=%d h0=%d c0=%d mask=%d resets=%d dropout=%d,%d outputs=%x arriving=%x "
                "gradients=%x skew=%d threads=%d output_activation=%d peephole=%d coupled=%d clip=%g,%g "
                "zoneout=%g,%g,%d,%d layer_norm=%d cell_norm=%d output_transform=%d projection=%lld seed=%llu",
                dtype_names[dtype], static_cast<long long>(batch),
                static_cast<long long>(time_steps), static_cast<long long>(features),
                static_cast<long long>(units), activation, recurrent_activation, go_backwards,
                bias, hidden_state, cell_state, mask, resets, dropout_masks, recurrent_dropout_masks,
                outputs, arriving, gradients, skew, threads, output_activation, peephole, coupled, clip, cell_clip,
                hidden_part, cell_part, hidden_zoneout, cell_zoneout, layer_norm, cell_norm, output_transform,
                static_cast<long long>(projection), static_cast<unsigned long long>(seed));
  return text;
}

Request::Request(const Options& o) : options(o) {
  const int64_t B = o.batch, T = o.time_steps, F = o.features, U = o.units, H = o.hidden();
  Random random{o.seed};
  const auto make = [&](int dtype, int64_t count, double scale) {
    Array array(dtype, count, o.skew);
    array.fill(random, -scale, scale);
    return array;
  };
  x = make(o.dtype, B * T * F, 1);
  kernel = make(o.dtype, F * 4 * U, 1 / std::sqrt(1.0 + static_cast<double>(F)));
  recurrent_kernel = make(o.dtype, H * 4 * U, 1 / std::sqrt(1.0 + static_cast<double>(H)));
  if (o.bias) bias = make(o.dtype, 4 * U, 1);
  if (o.hidden_state) hidden_state = make(o.dtype, B * H, 1);
  if (o.cell_state) cell_state = make(state_dtype(), B * U, 1);
  if (o.dropout_masks) dropout_mask = make(o.dtype, o.dropout_masks * B * F, 2);
  if (o.recurrent_dropout_masks)
    recurrent_dropout_mask = make(o.dtype, o.recurrent_dropout_masks * B * H, 2);
  if (o.mask != Options::kNone) {
    mask.resize(static_cast<size_t>(B * T));
    for (int64_t b = 0; b < B; ++b) {
      const int64_t length = random.below(T + 1);
      for (int64_t t = 0; t < T; ++t) {
        const bool counts = o.mask == Options::kRandom    ? random.coin()
                            : o.mask == Options::kPadding ? t < length
                                                          : false;
        // Any byte but 0 counts; what is skipped is not read.
        mask[static_cast<size_t>(b * T + t)] = static_cast<uint8_t>(counts ? 1 + random.below(255) : 0);
        for (int64_t f = 0; f < F && !counts; ++f) x.set((b * T + t) * F + f, NAN);
      }
    }
  }
  if (o.resets) {
    resets.resize(static_cast<size_t>(B * T));
    for (uint8_t& reset : resets)
      if (random.coin()) reset = static_cast<uint8_t>(random.below(4));
  }
  if (o.peephole) peephole = make(o.dtype, 3 * U, 1);
  const double inner = 1 / std::sqrt(1.0 + static_cast<double>(U));
  if (o.output_transform) output_kernel = make(o.dtype, U * U, inner), output_bias = make(o.dtype, U, 1);
  if (o.projection) projection_kernel = make(o.dtype, U * H, inner);
  if (o.layer_norm) gate_scale = make(o.dtype, o.layer_norm * 4 * U, 1);
  if (o.cell_norm) cell_scale = make(o.dtype, U, 1), cell_shift = make(o.dtype, U, 1);
  const auto zoneout = [&](std::vector<uint8_t>& keeps, int64_t width) {
    keeps.resize(static_cast<size_t>(B * T * width));
    for (uint8_t& keep : keeps) keep = random.below(3) == 0;
  };
  if (o.hidden_zoneout) zoneout(hidden_zoneout, H);
  if (o.cell_zoneout) zoneout(cell_zoneout, U);
  for (int s = 0; s < CONVEYOR_STATES; ++s)
    if (o.arriving >> s & 1) d_states[s] = make(o.dtype, state_count(s), 1);

  lstm.size = sizeof lstm;
  lstm.dtype = o.dtype;
  lstm.activation = o.activation;
  lstm.recurrent_activation = o.recurrent_activation;
  lstm.output_activation = o.output_activation < 0 ? o.activation : o.output_activation;
  for (int n = 0; n < CONVEYOR_FUNCTIONS; ++n) lstm.alpha[n] = o.alpha, lstm.beta[n] = o.beta;
  lstm.coupled = o.coupled;
  lstm.layer_norm = o.layer_norm;
  lstm.cell_norm = o.cell_norm;
  lstm.output_transform = o.output_transform;
  lstm.projection = o.projection;
  lstm.clip = o.clip;
  lstm.cell_clip = o.cell_clip;
  lstm.hidden_part = o.hidden_part;
  lstm.cell_part = o.cell_part;
  lstm.go_backwards = o.go_backwards;
  lstm.dropout_masks = o.dropout_masks;
  lstm.recurrent_dropout_masks = o.recurrent_dropout_masks;
  lstm.threads = o.threads;
  lstm.batch = B;
  lstm.time_steps = T;
  lstm.features = F;
  lstm.units = U;
  lstm.x = x.data();
  lstm.kernel = kernel.data();
  lstm.recurrent_kernel = recurrent_kernel.data();
  lstm.bias = bias.data();
  lstm.hidden_state = hidden_state.data();
  lstm.cell_state = cell_state.data();
  // std::vector gives no address for no elements.
  lstm.mask = mask.empty() ? nullptr : mask.data();
  lstm.dropout_mask = dropout_mask.data();
  lstm.recurrent_dropout_mask = recurrent_dropout_mask.data();
  lstm.resets = resets.empty() ? nullptr : resets.data();
  lstm.peephole = peephole.data();
  lstm.hidden_zoneout = hidden_zoneout.empty() ? nullptr : hidden_zoneout.data();
  lstm.cell_zoneout = cell_zoneout.empty() ? nullptr : cell_zoneout.data();
  lstm.output_kernel = output_kernel.data();
  lstm.output_bias = output_bias.data();
  lstm.projection_kernel = projection_kernel.data();
  lstm.gate_scale = gate_scale.data();
  lstm.cell_scale = cell_scale.data();
  lstm.cell_shift = cell_shift.data();
}

int Request::state_dtype() const {
  return options.dtype == CONVEYOR_BFLOAT16 ? static_cast<int>(CONVEYOR_FLOAT32) : options.dtype;
}

int64_t Request::state_count(int state) const {
  const bool hidden = state == CONVEYOR_HIDDEN_STATE || state == CONVEYOR_HIDDEN_STATES;
  const int64_t final = options.batch * (hidden ? options.hidden() : options.units);
  return state == CONVEYOR_HIDDEN_STATE || state == CONVEYOR_CELL_STATE
             ? final
             : final * options.time_steps;
}

conveyor_lstm_outputs Request::outputs(bool keep_reserve) {
  conveyor_lstm_outputs out{};
  out.size = sizeof out;
  for (int s = 0; s < CONVEYOR_STATES; ++s) {
    if (!(options.outputs >> s & 1)) continue;
    states[s] = Array(options.dtype, state_count(s), options.skew);
    out.states[s] = states[s].data();
  }
  if (keep_reserve) {
    const int64_t bytes = conveyor_lstm_reserve_bytes(&lstm);
    CHECK(bytes >= 0);
    reserve_.reset(new char[static_cast<size_t>(bytes)]);
    out.reserve = reserve_.get();
    if (!states[CONVEYOR_HIDDEN_STATES]) {
      hidden_states_ = Array(options.dtype, state_count(CONVEYOR_HIDDEN_STATES), options.skew);
      out.states[CONVEYOR_HIDDEN_STATES] = hidden_states_.data();
    }
  }
  return out;
}

conveyor_lstm_gradients Request::wanted() {
  const Options& o = options;
  conveyor_lstm_gradients g{};
  g.size = sizeof g;
  g.hidden_states = hidden_states_ ? hidden_states_.data() : states[CONVEYOR_HIDDEN_STATES].data();
  g.reserve = reserve_.get();
  for (int s = 0; s < CONVEYOR_STATES; ++s) g.d_states[s] = d_states[s].data();
  const int64_t counts[kGradients] = {
      x.count(), kernel.count(), recurrent_kernel.count(), 4 * o.units, o.batch * o.hidden(),
      o.batch * o.units, dropout_mask.count(), recurrent_dropout_mask.count(), peephole.count(),
      output_kernel.count(), output_bias.count(), projection_kernel.count(), gate_scale.count(),
      cell_scale.count(), cell_shift.count()};
  void** const to[kGradients] = {&g.d_x,
                                 &g.d_kernel,
                                 &g.d_recurrent_kernel,
                                 &g.d_bias,
                                 &g.d_hidden_state,
                                 &g.d_cell_state,
                                 &g.d_dropout_mask,
                                 &g.d_recurrent_dropout_mask,
                                 &g.d_peephole,
                                 &g.d_output_kernel,
                                 &g.d_output_bias,
                                 &g.d_projection_kernel,
                                 &g.d_gate_scale,
                                 &g.d_cell_scale,
                                 &g.d_cell_shift};
  for (int n = 0; n < kGradients; ++n) {
    if (!(o.gradients >> n & 1)) continue;
    if (!has(n)) continue;
    gradients[n] = Array(n == kDCellState ? state_dtype() : o.dtype, counts[n], o.skew);
    *to[n] = gradients[n].data();
  }
  return g;
}

// Whether there is the array that this is the gradient of, or a gradient all the same.
bool Request::has(int gradient) const {
  switch (gradient) {
    case kDDropoutMask: return bool(dropout_mask);
    case kDRecurrentDropoutMask: return bool(recurrent_dropout_mask);
    case kDPeephole: return bool(peephole);
    case kDOutputKernel:
    case kDOutputBias: return options.output_transform;
    case kDProjectionKernel: return options.projection > 0;
    case kDGateScale: return options.layer_norm != CONVEYOR_NO_NORM;
    case kDCellScale:
    case kDCellShift: return options.cell_norm;
    default: return true;
  }
}

int Request::forward(bool keep_reserve) {
  const conveyor_lstm_outputs out = outputs(keep_reserve);
  return conveyor_lstm_forward(&lstm, &out);
}

int Request::backward() {
  const conveyor_lstm_gradients g = wanted();
  return conveyor_lstm_backward(&lstm, &g);
}

template <class Run>
static void by_reference(const conveyor_lstm& l, Run run) {
  switch (l.dtype) {
    case CONVEYOR_FLOAT32: return run(reference::Lstm<float, float>(l));
    case CONVEYOR_FLOAT64: return run(reference::Lstm<double, double>(l));
    default: return run(reference::Lstm<bfloat16, float>(l));
  }
}

void Request::forward_by_reference() {
  const conveyor_lstm_outputs out = outputs(true);
  by_reference(lstm, [&](const auto& reference) { reference.forward(out); });
}

void Request::backward_by_reference() {
  const conveyor_lstm_gradients g = wanted();
  by_reference(lstm, [&](const auto& reference) { reference.backward(g); });
}

bool Request::same_results(const Request& other) const {
  for (int s = 0; s < CONVEYOR_STATES; ++s)
    if (!states[s].same_bytes(other.states[s])) return false;
  for (int n = 0; n < kGradients; ++n)
    if (!gradients[n].same_bytes(other.gradients[n])) return false;
  return true;
}
