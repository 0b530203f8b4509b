// Every target and dtype over random requests, against the plain reference in double.
#include <algorithm>

#include "compare.h"

namespace {

double worst[3][2] = {};  // of each dtype, forward and backward

// All else at random.
Options random_options(Random& random) {
  Options o;
  o.seed = random.next();
  o.batch = random.below(15);
  o.time_steps = random.below(7);
  o.features = random.below(20);
  o.units = 1 + random.below(40);
  o.go_backwards = random.coin();
  o.bias = random.coin();
  o.hidden_state = random.coin();
  o.cell_state = random.coin();
  o.mask = static_cast<decltype(o.mask)>(random.below(4));
  constexpr int kMasks[] = {0, 1, 4};
  o.dropout_masks = kMasks[random.below(3)];
  o.recurrent_dropout_masks = kMasks[random.below(3)];
  o.outputs = static_cast<unsigned>(random.below(256));
  o.arriving = static_cast<unsigned>(random.below(256));
  o.gradients = static_cast<unsigned>(random.below(256));
  o.skew = random.coin() ? 1 : 0;
  o.resets = random.coin();
  return o;
}

template <class Change>
void sweep(uint64_t seed, int count, Change change) {
  on_every_target([&] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      Random random{seed};
      // Of `count` every so many-th, where there is no time for all.
      const int step = (count + cases(count) - 1) / cases(count);
      for (int n = 0; n < count; n += step) {
        Options o = random_options(random);
        o.dtype = dtype;
        change(o, n);
        const Worst off = expect_close_to_reference(o);
        worst[dtype][0] = std::max(worst[dtype][0], off.forward);
        worst[dtype][1] = std::max(worst[dtype][1], off.backward);
      }
    }
  });
}

TEST(every_number_of_units) {
  sweep(1, 70, [](Options& o, int n) { o.units = n + 1; });
}

TEST(every_number_of_features) {
  sweep(2, 40, [](Options& o, int n) { o.features = n; });
}

TEST(every_size_of_batch) {
  sweep(3, 30, [](Options& o, int n) { o.batch = n; });
}

TEST(many_steps) {
  sweep(4, 4, [](Options& o, int n) {
    o.time_steps = 50 + 37 * n;
    o.batch = 1 + 2 * n;
  });
}

TEST(every_pair_of_activations) {
  sweep(5, 25, [](Options& o, int n) {
    o.activation = n / 5;
    o.recurrent_activation = n % 5;
    o.batch = std::min<int64_t>(o.batch, 3);
    o.time_steps = std::min<int64_t>(o.time_steps, 4);
  });
}

// Each alone, then some together.
void vary(Options& o, int n) {
  o.peephole = n == 0 || (n > 8 && n & 1);
  o.coupled = n == 1 || (n > 8 && n & 2);
  if (n == 2 || (n > 8 && n & 4)) o.clip = 0.6;
  if (n == 3 || (n > 8 && n & 8)) o.cell_clip = 0.4;
  o.hidden_zoneout = n == 4 || (n > 8 && n % 3 == 0);
  o.cell_zoneout = n == 5 || (n > 8 && n % 5 == 0);
  if (n == 6 || (n > 8 && n % 3 == 1)) o.hidden_part = 0.3;
  if (n == 7 || (n > 8 && n % 5 == 1)) o.cell_part = 0.2;
  if (n == 8 || (n > 8 && n & 16)) o.output_activation = CONVEYOR_RELU;
  o.gradients |= 1u << kDPeephole;
  // In 16 bits a value may be rounded across a bound, and its gradient is another there.
  if (o.dtype == CONVEYOR_BFLOAT16 && (o.clip > 0 || o.cell_clip > 0 || o.output_activation > 0))
    o.gradients = 0;
}

TEST(variants) {
  sweep(8, 60, vary);
}

// Those that are computed in stages: each alone, then some together and with the others.
void stage(Options& o, int n) {
  o.layer_norm = n < 5 ? (n == 0 || n == 1 ? 1 + n : 0) : n % 3;
  o.cell_norm = n == 2 || (n > 4 && n & 2);
  o.output_transform = n == 3 || (n > 4 && n & 4);
  if (n == 4 || (n > 4 && n & 1)) o.projection = 1 + n * 7 % (o.units + 8);
  o.gradients |= 0x7fffu & ~0xffu;
  if (n > 20) vary(o, n - 12);
}

TEST(in_stages) {
  sweep(11, 60, stage);
}

TEST(in_stages_larger_than_the_blocks_of_the_kernels) {
  sweep(12, 12, [](Options& o, int n) {
    stage(o, n < 5 ? n : 3 * n);
    o.batch = n & 1 ? 33 : 2;
    o.time_steps = n & 1 ? 3 : 9;
    o.units = n & 1 ? 70 : 130;
    if (o.projection) o.projection = 83;
    o.features = 7;
    o.threads = 3;
  });
}

TEST(variants_larger_than_the_blocks_of_the_kernels) {
  sweep(9, 12, [](Options& o, int n) {
    vary(o, 9 + 3 * n);
    o.batch = n & 1 ? 33 : 2;
    o.time_steps = n & 1 ? 3 : 9;
    o.units = n & 1 ? 70 : 130;
    o.features = 7;
    o.threads = 3;
  });
}

TEST(every_activation_in_each_place) {
  sweep(10, 3 * CONVEYOR_ACTIVATIONS, [](Options& o, int n) {
    int* const places[] = {&o.activation, &o.recurrent_activation, &o.output_activation};
    *places[n % 3] = n / 3;
    if (o.dtype == CONVEYOR_BFLOAT16) o.gradients = 0;
    o.batch = std::min<int64_t>(o.batch, 3);
    o.time_steps = std::min<int64_t>(o.time_steps, 3);
  });
}

TEST(larger_than_the_blocks_of_the_kernels) {
  sweep(6, 2, [](Options& o, int n) {
    o.batch = n ? 67 : 2;
    o.time_steps = n ? 3 : 20;
    o.features = n ? 3 : 150;
    o.units = n ? 70 : 130;
    o.threads = 3;
  });
}

TEST(everything_asked_for_or_nothing) {
  sweep(7, 8, [](Options& o, int n) {
    o.outputs = n & 1 ? 0xff : 0;
    o.arriving = n & 2 ? 0xff : 0;
    o.gradients = n & 4 ? 0xff : 0;
  });
}

TEST(how_far_the_worst_value_was_off) {  // of the tests above
  for (int dtype = 0; dtype < 3; ++dtype)
    std::printf("   %-8s forward %.1e of %.0e, backward %.1e of %.0e\n", dtype_names[dtype],
                worst[dtype][0], kForward[dtype], worst[dtype][1], kBackward[dtype]);
}

}  // namespace
