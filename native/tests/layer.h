// One output layer with random arrays, each of exactly its size on the heap.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compare.h"
#include "conveyor/linear.h"
#include "request.h"

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

// Of 1 + the value: a few units in the last place, times what is summed up. For bfloat16 as exact as
// for float32, as features and weights are what they are.
constexpr double kLosses = 4e-6;

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

}  // namespace
