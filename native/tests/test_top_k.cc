// The largest logits of the output layer: every target against a plain reference in double.
#include "layer.h"
#include "threads.h"

namespace {

void expect_largest(const Case& c) {
  const At at(c.text());
  Layer layer(c);
  CHECK_EQUAL(layer.top_k(), CONVEYOR_OK);
  std::vector<double> z;
  for (int64_t n = 0; n < c.rows; ++n) {
    const double total = layer.logits_of(n, z);
    CHECK(std::fabs(layer.totals.get(n) - total) < kLosses * (1 + std::fabs(total)));
    std::vector<double> sorted(z);
    std::sort(sorted.rbegin(), sorted.rend());
    std::vector<bool> seen(z.size());
    for (int64_t j = 0; j < c.k; ++j) {
      const double value = layer.values.get(n * c.k + j);
      const int32_t index = layer.indices[static_cast<size_t>(n * c.k + j)];
      CHECK(index >= 0 && index < c.classes && !seen[static_cast<size_t>(index)]);
      seen[static_cast<size_t>(index)] = true;
      // Which of two that are as good as equal comes first is left to rounding.
      CHECK(std::fabs(value - z[static_cast<size_t>(index)]) < kLosses * (1 + std::fabs(value)));
      CHECK(std::fabs(value - sorted[static_cast<size_t>(j)]) < kLosses * (1 + std::fabs(value)));
      if (j) CHECK(value <= layer.values.get(n * c.k + j - 1));
    }
  }
}

constexpr int64_t kFeatures[] = {1, 7, 16, 50, 65}, kClasses[] = {1, 2, 5, 17, 200},
                  kRows[] = {0, 1, 3, 70};

TEST(the_largest_logits_of_any_size) {
  on_every_target_and_dtype([](Case c) {
    int n = 0;
    for (const int64_t features : kFeatures)
      for (const int64_t classes : kClasses)
        for (const int64_t rows : kRows)
          for (const int64_t k : {1, 2, 5, 20}) {
            if (k > classes || (cases(100) < 100 && n++ % 5)) continue;
            c.features = features;
            c.classes = classes;
            c.rows = rows;
            c.k = k;
            c.bias = ++c.seed % 2;
            expect_largest(c);
          }
    c.rows = 300;
    c.classes = 50;
    c.k = 50;
    expect_largest(c);
  });
}

TEST(of_equal_logits_the_first_class_comes_first) {
  const struct Cores {
    Cores() { conveyor::pretend_cores(4); }
    ~Cores() { conveyor::pretend_cores(0); }
  } cores;
  on_every_target_and_dtype([](Case c) {
    c.rows = 300;
    c.classes = 500;
    c.k = 7;
    c.bias = false;
    for (c.threads = 1; c.threads < 5; ++c.threads) {
      Layer layer(c);
      layer.kernel.fill(0);
      CHECK_EQUAL(layer.top_k(), CONVEYOR_OK);
      for (size_t n = 0; n < layer.indices.size(); ++n)
        CHECK_EQUAL(layer.indices[n], static_cast<int32_t>(n % 7));
    }
  });
}

TEST(forbidden_classes_come_last) {
  on_every_target_and_dtype([](Case c) {
    c.k = c.classes;
    Layer layer(c);
    for (int64_t v = 0; v < c.classes; ++v)
      if (v != 4) layer.bias.set(v, v % 2 ? -INFINITY : NAN);
    CHECK_EQUAL(layer.top_k(), CONVEYOR_OK);
    for (int64_t n = 0; n < c.rows; ++n) {
      CHECK_EQUAL(layer.indices[static_cast<size_t>(n * c.k)], 4);
      CHECK(layer.values.get(n * c.k + 1) == -INFINITY);
    }
  });
}

}  // namespace
