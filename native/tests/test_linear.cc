// The output layer with its cross entropy, or with its largest logits: every target against a
// plain reference in double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <thread>

#include "compare.h"
#include "conveyor/linear.h"
#include "real.h"
#include "request.h"
#include "threads.h"

namespace {

struct Case {
  int dtype = CONVEYOR_FLOAT32;
  int64_t rows = 7, features = 5, classes = 11, k = 1;
  double label_smoothing = 0;
  bool bias = true;
  int ignoring = 3;  // one row in so many; 0 for none
  unsigned gradients = 7;
  int skew = 0, threads = 0;
  uint64_t seed = 1;

  std::string text() const {
    return std::string(dtype_names[dtype]) + " rows " + std::to_string(rows) + " features " +
           std::to_string(features) + " classes " + std::to_string(classes) + " k " +
           std::to_string(k) + " gradients " + std::to_string(gradients) + " threads " +
           std::to_string(threads);
  }
};

constexpr int32_t kIgnored = 0;

struct Layer {
  explicit Layer(const Case& c) : options(c) {
    Random random{c.seed};
    x = Array(c.dtype, c.rows * c.features, c.skew);
    kernel = Array(c.dtype, c.classes * c.features, c.skew);
    bias = Array(CONVEYOR_FLOAT32, c.classes, c.skew);
    x.fill(random, -1, 1);
    const double bound = 4 / std::sqrt(static_cast<double>(c.features) + 3);  // logits of any width
    kernel.fill(random, -bound, bound);
    bias.fill(random, -1, 1);
    labels.resize(static_cast<size_t>(c.rows));
    for (int32_t& label : labels) {
      label = static_cast<int32_t>(random.below(c.classes));
      if (c.ignoring && random.below(c.ignoring) == 0) label = kIgnored;
    }
    linear.size = sizeof linear;
    linear.dtype = c.dtype;
    linear.threads = c.threads;
    linear.rows = c.rows;
    linear.features = c.features;
    linear.classes = c.classes;
    linear.x = x.data();
    linear.kernel = kernel.data();
    linear.bias = c.bias ? static_cast<const float*>(bias.data()) : nullptr;
    losses = Array(CONVEYOR_FLOAT32, c.rows, c.skew);
    cross_entropies = Array(CONVEYOR_FLOAT32, c.rows, c.skew);
    if (c.gradients & 1) d_x = Array(c.dtype, c.rows * c.features, c.skew);
    if (c.gradients & 2) d_kernel = Array(c.dtype, c.classes * c.features, c.skew);
    if (c.gradients & 4) d_bias = Array(CONVEYOR_FLOAT32, c.classes, c.skew);
    values = Array(CONVEYOR_FLOAT32, c.rows * c.k, c.skew);
    totals = Array(CONVEYOR_FLOAT32, c.rows, c.skew);
    indices.resize(static_cast<size_t>(c.rows * c.k));
  }

  static float* floats(const Array& array) { return static_cast<float*>(array.data()); }

  conveyor_cross_entropy wanted() const {
    conveyor_cross_entropy c{};
    c.size = sizeof c;
    c.labels = labels.data();
    c.ignored = options.ignoring ? kIgnored : INT32_MIN;
    c.label_smoothing = static_cast<float>(options.label_smoothing);
    c.losses = floats(losses);
    c.cross_entropies = floats(cross_entropies);
    c.d_x = d_x.data();
    c.d_kernel = d_kernel.data();
    c.d_bias = floats(d_bias);
    return c;
  }
  int cross_entropy() const {
    const conveyor_cross_entropy c = wanted();
    return conveyor_linear_cross_entropy(&linear, &c);
  }
  conveyor_top_k largest() {
    conveyor_top_k t{};
    t.size = sizeof t;
    t.k = options.k;
    t.values = floats(values);
    t.indices = indices.data();
    t.totals = floats(totals);
    return t;
  }
  int top_k() {
    const conveyor_top_k t = largest();
    return conveyor_linear_top_k(&linear, &t);
  }

  // The logits of a row, and the log of the sum of their exponentials.
  double logits_of(int64_t n, std::vector<double>& z) const {
    z.assign(static_cast<size_t>(options.classes), 0);
    double sum = 0, highest = -INFINITY;
    for (int64_t v = 0; v < options.classes; ++v) {
      double& one = z[static_cast<size_t>(v)];
      one = options.bias ? bias.get(v) : 0;
      for (int64_t a = 0; a < options.features; ++a)
        one += x.get(n * options.features + a) * kernel.get(v * options.features + a);
      highest = std::max(highest, one);
    }
    for (const double one : z) sum += std::exp(one - highest);
    return highest + std::log(sum);
  }

  void cross_entropy_by_reference() {
    const int64_t A = options.features, V = options.classes;
    std::vector<double> z, dx(static_cast<size_t>(A)), dk(static_cast<size_t>(V * A)),
        db(static_cast<size_t>(V));
    const double eps = static_cast<float>(options.label_smoothing);
    for (int64_t n = 0; n < options.rows; ++n) {
      const int64_t y = labels[static_cast<size_t>(n)];
      const bool counts = !options.ignoring || y != kIgnored;
      const double total = logits_of(n, z);
      const double mean = std::accumulate(z.begin(), z.end(), 0.0) / static_cast<double>(V);
      const double label = z[static_cast<size_t>(y)];
      losses.set(n, counts ? total - (1 - eps) * label - eps * mean : 0);
      cross_entropies.set(n, counts ? total - label : 0);
      std::fill(dx.begin(), dx.end(), 0);
      for (int64_t v = 0; v < V && counts; ++v) {
        const double d = std::exp(z[static_cast<size_t>(v)] - total) -
                         eps / static_cast<double>(V) - (v == y ? 1 - eps : 0);
        db[static_cast<size_t>(v)] += d;
        for (int64_t a = 0; a < A; ++a) {
          dx[static_cast<size_t>(a)] += d * kernel.get(v * A + a);
          dk[static_cast<size_t>(v * A + a)] += d * x.get(n * A + a);
        }
      }
      if (d_x)
        for (int64_t a = 0; a < A; ++a) d_x.set(n * A + a, dx[static_cast<size_t>(a)]);
    }
    for (int64_t n = 0; d_kernel && n < V * A; ++n) d_kernel.set(n, dk[static_cast<size_t>(n)]);
    for (int64_t v = 0; d_bias && v < V; ++v) d_bias.set(v, db[static_cast<size_t>(v)]);
  }

  bool same_losses(const Layer& other) const {
    return losses.same_bytes(other.losses) && cross_entropies.same_bytes(other.cross_entropies) &&
           d_x.same_bytes(other.d_x) && d_kernel.same_bytes(other.d_kernel) &&
           d_bias.same_bytes(other.d_bias);
  }
  bool same_largest(const Layer& other) const {
    return values.same_bytes(other.values) && totals.same_bytes(other.totals) &&
           indices == other.indices;
  }

  const Case options;
  conveyor_linear linear{};
  Array x, kernel, bias, losses, cross_entropies, d_x, d_kernel, d_bias, values, totals;
  std::vector<int32_t> labels, indices;
};

// Of 1 + the value: a few units in the last place, times what is summed up. For bfloat16 losses are
// as exact as for float32, as features and weights are what they are; gradients are rounded.
constexpr double kLosses = 4e-6;
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

template <class Run>
void on_every_target_and_dtype(Run run) {
  on_every_target([&] {
    for (const int dtype : {CONVEYOR_FLOAT32, CONVEYOR_BFLOAT16}) {
      Case c;
      c.dtype = dtype;
      run(c);
    }
  });
}

constexpr int64_t kFeatures[] = {1, 7, 16, 50, 65}, kClasses[] = {1, 2, 5, 17, 200},
                  kRows[] = {0, 1, 3, 70};

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
    c.rows = 2000;
    c.features = 300;
    c.classes = 5000;
    Layer layer(c);
    layer.linear.interrupted = [] { return 1; };
    CHECK_EQUAL(layer.cross_entropy(), CONVEYOR_INTERRUPTED);
    CHECK_EQUAL(layer.top_k(), CONVEYOR_INTERRUPTED);
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
