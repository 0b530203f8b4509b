// What holds for all that an output layer computes: threads, interruption, refusals.
#include <cstring>
#include <thread>

#include "layer.h"
#include "threads.h"

namespace {

TEST(output_layers_do_not_depend_on_the_number_of_threads) {
  const struct Cores {
    Cores() { conveyor::pretend_cores(5); }
    ~Cores() { conveyor::pretend_cores(0); }
  } cores;
  on_every_target_and_dtype([](Case c) {
    c.rows = 300;
    c.features = 40;
    c.classes = 500;
    c.k = 5;
    c.label_smoothing = 0.1;
    c.threads = 1;
    Layer alone(c);
    CHECK_EQUAL(alone.cross_entropy(), CONVEYOR_OK);
    CHECK_EQUAL(alone.top_k(), CONVEYOR_OK);
    for (c.threads = 2; c.threads < 6; ++c.threads) {
      Layer together(c);
      CHECK_EQUAL(together.cross_entropy(), CONVEYOR_OK);
      CHECK_EQUAL(together.top_k(), CONVEYOR_OK);
      CHECK(together.same_losses(alone));
      CHECK(together.same_largest(alone));
    }
  });
}

TEST(output_layers_of_many_callers) {
  Case c;
  c.rows = 60;
  c.classes = 300;
  c.k = 3;
  Layer expected(c);
  CHECK_EQUAL(expected.cross_entropy(), CONVEYOR_OK);
  CHECK_EQUAL(expected.top_k(), CONVEYOR_OK);
  std::vector<std::thread> callers;
  for (int n = 0; n < 4; ++n)
    callers.emplace_back([&] {
      for (int again = 0; again < cases(20); ++again) {
        Layer layer(c);
        CHECK_EQUAL(layer.cross_entropy(), CONVEYOR_OK);
        CHECK_EQUAL(layer.top_k(), CONVEYOR_OK);
        CHECK(layer.same_losses(expected) && layer.same_largest(expected));
      }
    });
  for (std::thread& caller : callers) caller.join();
}

TEST(output_layers_can_be_interrupted) {
  on_every_target_and_dtype([](Case c) {
    c.features = 300;
    c.classes = 5000;
    // How long a call takes is the machine's: the first that is asked whether to go on.
    for (c.rows = 2000;; c.rows *= 2) {
      Layer layer(c);
      layer.linear.interrupted = [] { return 1; };
      const int status = layer.top_k();
      if (status == CONVEYOR_OK && c.rows < 500'000) continue;
      CHECK_EQUAL(status, CONVEYOR_INTERRUPTED);
      CHECK_EQUAL(layer.cross_entropy(), CONVEYOR_INTERRUPTED);
      break;
    }
  });
}

void expect_invalid(int status, const char* word) {
  CHECK_EQUAL(status, CONVEYOR_INVALID);
  if (!std::strstr(conveyor_error(), word)) fail(__FILE__, __LINE__, conveyor_error());
}

TEST(output_layers_that_cannot_be_computed_are_refused) {
  Layer layer{Case{}};
  const conveyor_linear good = layer.linear;
  const auto refused = [&](const char* word, auto change) {
    change(layer.linear);
    expect_invalid(layer.cross_entropy(), word);
    expect_invalid(layer.top_k(), word);
    layer.linear = good;
  };
  refused("size", [](auto& l) { l.size -= 8; });
  refused("dtype", [](auto& l) { l.dtype = CONVEYOR_FLOAT64; });
  refused("dtype", [](auto& l) { l.dtype = 7; });
  refused("threads", [](auto& l) { l.threads = -1; });
  refused("rows", [](auto& l) { l.rows = -1; });
  refused("rows", [](auto& l) { l.rows = int64_t{1} << 31; });
  refused("features", [](auto& l) { l.features = 0; });
  refused("classes", [](auto& l) { l.classes = 0; });
  refused("classes", [](auto& l) { l.classes = int64_t{1} << 31; });
  refused("too large", [](auto& l) { l.features = INT64_MAX / 4; });
  refused("x: null", [](auto& l) { l.x = nullptr; });
  refused("kernel: null", [](auto& l) { l.kernel = nullptr; });

  const auto losses = [&](const char* word, auto change) {
    conveyor_cross_entropy c = layer.wanted();
    change(c);
    expect_invalid(conveyor_linear_cross_entropy(&layer.linear, &c), word);
  };
  losses("size", [](auto& c) { c.size = 1; });
  losses("labels: null", [](auto& c) { c.labels = nullptr; });
  losses("label_smoothing", [](auto& c) { c.label_smoothing = 1; });
  losses("label_smoothing", [](auto& c) { c.label_smoothing = -0.1f; });
  losses("label_smoothing", [](auto& c) { c.label_smoothing = NAN; });
  losses("d_x: overlaps x", [&](auto& c) { c.d_x = layer.x.data(); });
  losses("d_kernel: overlaps kernel", [&](auto& c) { c.d_kernel = layer.kernel.data(); });
  losses("d_bias: overlaps bias",
         [&](auto& c) { c.d_bias = static_cast<float*>(layer.bias.data()); });
  losses("cross_entropies: overlaps losses", [](auto& c) { c.cross_entropies = c.losses; });
  for (const int32_t label : {-1, 11, INT32_MAX, INT32_MIN}) {
    layer.labels[2] = label;
    expect_invalid(layer.cross_entropy(), "labels");
    CHECK(std::strstr(conveyor_error(), "row 2"));
  }

  const auto largest = [&](const char* word, auto change) {
    conveyor_top_k t = layer.largest();
    change(t);
    expect_invalid(conveyor_linear_top_k(&layer.linear, &t), word);
  };
  largest("size", [](auto& t) { t.size = 0; });
  largest("k:", [](auto& t) { t.k = 0; });
  largest("k:", [](auto& t) { t.k = 12; });
  largest("values", [](auto& t) { t.values = nullptr; });
  largest("overlaps", [](auto& t) { t.totals = t.values; });
}

}  // namespace
