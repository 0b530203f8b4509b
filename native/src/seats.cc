#include "seats.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace conveyor {

bool Seats::mark(int core) {
  const uint64_t bit = uint64_t{1} << (core % 64);
  return taken_[core / 64].fetch_or(bit, std::memory_order_relaxed) & bit;
}

#if defined(__linux__)
void Seats::keep() {
  const int core = sched_getcpu();
  if (core >= 0 && core < kCores) mark(core);
}

void Seats::find() {
  int core = sched_getcpu();
  if (core < 0 || core >= kCores || !mark(core)) return;
  cpu_set_t before, free;
  if (sched_getaffinity(0, sizeof before, &before) != 0) return;
  // Again where another member was faster; each time there is one core less to try.
  do {
    free = before;
    for (int n = 0; n < kCores; ++n)
      if (taken_[n / 64].load(std::memory_order_relaxed) >> (n % 64) & 1) CPU_CLR(n, &free);
    if (CPU_COUNT(&free) == 0 || sched_setaffinity(0, sizeof free, &free) != 0) break;
    core = sched_getcpu();
  } while (core >= 0 && core < kCores && mark(core));
  sched_setaffinity(0, sizeof before, &before);
}
#else
void Seats::keep() {}
void Seats::find() {}
#endif

}  // namespace conveyor
