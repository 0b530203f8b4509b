// Cross entropies of the output layer and their gradients: every target against a plain reference in
// double.
#include "layer.h"

namespace {

// Gradients in bfloat16 are rounded, and what they are sums of.
constexpr double kGradient[] = {1e-5, 0, 2e-2};

void expect_losses(const Case& c) {
  const At at(c.text());
  Layer actual(c), expected(c);
  expected.cross_entropy_by_reference();
  CHECK_EQUAL(actual.cross_entropy(), CONVEYOR_OK);
  expect_close("losses", actual.losses, expected.losses, kLosses);
  expect_close("cross_entropies", actual.cross_entropies, expected.cross_entropies, kLosses);
  const double tolerance = kGradient[c.dtype];
  expect_close("d_x", actual.d_x, expected.d_x, tolerance);
  expect_close("d_kernel", actual.d_kernel, expected.d_kernel, tolerance);
  expect_close("d_bias", actual.d_bias, expected.d_bias, kGradient[0]);
}

constexpr int64_t kRows[] = {0, 1, 3, 70};

TEST(cross_entropies_of_any_size) {
  on_every_target_and_dtype([](Case c) {
    int n = 0;
    for (c.features = 1; c.features <= 70; c.features += 1 + c.features / 4)
      for (c.classes = 1; c.classes < 300; c.classes += 1 + c.classes / 2)
        for (const int64_t rows : kRows) {
          if (cases(100) < 100 && n++ % 5) continue;
          c.rows = rows;
          c.label_smoothing = c.seed % 3 ? 0.1 : 0;
          c.bias = c.seed % 2;
          c.ignoring = static_cast<int>(c.seed % 4);
          c.skew = static_cast<int>(c.seed % 2);
          ++c.seed;
          expect_losses(c);
        }
  });
}

TEST(cross_entropies_of_several_chunks_of_rows) {
  on_every_target_and_dtype([](Case c) {
    c.rows = cases(100) < 100 ? 300 : 700;
    c.classes = 257;
    c.label_smoothing = 0.1;
    for (c.features = 33; c.features < 300; c.features += 223) expect_losses(c);
  });
}

TEST(gradients_that_are_not_wanted) {
  on_every_target_and_dtype([](Case c) {
    c.rows = 40;
    for (c.gradients = 0; c.gradients < 8; ++c.gradients) expect_losses(c);
  });
}

TEST(rows_that_are_all_ignored_give_zeros) {
  on_every_target_and_dtype([](Case c) {
    c.ignoring = 1;
    Layer layer(c);
    CHECK_EQUAL(layer.cross_entropy(), CONVEYOR_OK);
    for (const Array* a : {&layer.losses, &layer.cross_entropies, &layer.d_x, &layer.d_kernel,
                           &layer.d_bias})
      for (int64_t n = 0; n < a->count(); ++n) CHECK(a->get(n) == 0);
  });
}

TEST(ignored_rows_are_not_read) {
  on_every_target_and_dtype([](Case c) {
    c.rows = 100;
    Layer clean(c), wild(c);
    for (int64_t n = 0; n < c.rows; ++n)
      for (int64_t a = 0; a < c.features && clean.labels[static_cast<size_t>(n)] == kIgnored; ++a)
        wild.x.set(n * c.features + a, NAN);
    CHECK_EQUAL(clean.cross_entropy(), CONVEYOR_OK);
    CHECK_EQUAL(wild.cross_entropy(), CONVEYOR_OK);
    CHECK(wild.same_losses(clean));
  });
}

TEST(values_that_are_none_show_in_the_losses_of_their_rows_only) {
  on_every_target_and_dtype([](Case c) {
    c.rows = 20;
    c.ignoring = 0;
    Layer clean(c), wild(c);
    for (const double value : {double{NAN}, double{INFINITY}}) {
      wild.x.set(3 * c.features, value);
      CHECK_EQUAL(clean.cross_entropy(), CONVEYOR_OK);
      CHECK_EQUAL(wild.cross_entropy(), CONVEYOR_OK);
      CHECK(!std::isfinite(wild.losses.get(3)));
      for (int64_t n = 0; n < c.rows; ++n)
        if (n != 3) CHECK(wild.losses.get(n) == clean.losses.get(n));
    }
  });
}

TEST(large_logits_do_not_overflow) {
  on_every_target_and_dtype([](Case c) {
    Layer layer(c);
    for (int64_t v = 0; v < c.classes; ++v) layer.bias.set(v, 5000.0 * (v % 3) - 7000);
    Layer expected(c);
    for (int64_t v = 0; v < c.classes; ++v) expected.bias.set(v, 5000.0 * (v % 3) - 7000);
    expected.cross_entropy_by_reference();
    CHECK_EQUAL(layer.cross_entropy(), CONVEYOR_OK);
    expect_close("losses", layer.losses, expected.losses, 1e-4);
    expect_close("d_x", layer.d_x, expected.d_x, 2e-2);
  });
}

}  // namespace
