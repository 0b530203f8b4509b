#include <cstdint>
#include <cstdio>
#include <limits>

#include "checks.h"
#include "overlaps.h"

namespace conveyor {
namespace {

int check(const conveyor_linear* l) {
  no_error();
  if (!l || l->size != sizeof(conveyor_linear)) return invalid("linear: size of another version");
  if (l->dtype != CONVEYOR_FLOAT32 && l->dtype != CONVEYOR_BFLOAT16)
    return invalid("dtype: float32 or bfloat16");
  if (l->threads < 0) return invalid("threads: negative");
  if (l->rows < 0 || l->features < 1 || l->classes < 1)
    return invalid("rows, features, classes: negative, or no features or classes");
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  if (l->rows > most || l->classes > most) return invalid("rows, classes: over 2147483647");
  const int64_t wide = 4 * 16;  // the widest element, times padding
  if (product(l->rows + 1, l->features, wide) < 0 || product(l->classes, l->features, wide) < 0)
    return invalid("rows, features, classes: too large for an address");
  if (!l->x && l->rows > 0) return invalid("x: null");
  if (!l->kernel) return invalid("kernel: null");
  return CONVEYOR_OK;
}

int check_labels(const conveyor_linear& l, const conveyor_cross_entropy& c) {
  for (int64_t n = 0; n < l.rows; ++n) {
    const int32_t label = c.labels[n];
    if (label == c.ignored || (label >= 0 && label < l.classes)) continue;
    static thread_local char reason[96];
    std::snprintf(reason, sizeof reason, "labels: %d at row %lld, and there are %lld classes",
                  static_cast<int>(label), static_cast<long long>(n),
                  static_cast<long long>(l.classes));
    return invalid(reason);
  }
  return CONVEYOR_OK;
}

}  // namespace

int check(const conveyor_linear* l, const conveyor_cross_entropy* c) {
  if (const int status = check(l)) return status;
  if (!c || c->size != sizeof(conveyor_cross_entropy))
    return invalid("losses: size of another version");
  if (!(c->label_smoothing >= 0 && c->label_smoothing < 1))
    return invalid("label_smoothing: from 0 to below 1");
  if (!c->labels && l->rows > 0) return invalid("labels: null");
  if (const int status = check_labels(*l, *c)) return status;
  return check_overlaps(*l, *c);
}

int check(const conveyor_linear* l, const conveyor_top_k* t) {
  if (const int status = check(l)) return status;
  if (!t || t->size != sizeof(conveyor_top_k)) return invalid("largest: size of another version");
  if (t->k < 1 || t->k > l->classes) return invalid("k: from 1 to the number of classes");
  if (product(l->rows + 1, t->k, 64) < 0) return invalid("rows, k: too large for an address");
  if (l->rows > 0 && (!t->values || !t->indices)) return invalid("values, indices: null");
  return check_overlaps(*l, *t);
}

}  // namespace conveyor
