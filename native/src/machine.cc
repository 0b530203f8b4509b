// Caches and cores, as the operating system describes them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "cpu.h"

#if defined(__linux__)
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace conveyor {
namespace {

// Where nothing is known: small, as blocks that are too small cost less than blocks that spill.
constexpr int64_t kL2 = 512 << 10, kL3 = 1 << 20;

struct Caches {
  int64_t l2 = 0, l3 = 0;
};

#if defined(__linux__)
// The first line of a file of /proc or /sys, or false.
bool read_line(const char* path, char* line, int size) {
  std::FILE* file = std::fopen(path, "re");
  if (!file) return false;
  const bool read = std::fgets(line, size, file) != nullptr;
  std::fclose(file);
  if (read) line[std::strcspn(line, "\n")] = 0;
  return read;
}

// "0-3,8" is 5 processors.
int count_listed(const char* list) {
  int count = 0;
  while (*list) {
    char* end;
    const long first = std::strtol(list, &end, 10);
    const long last = *end == '-' ? std::strtol(end + 1, &end, 10) : first;
    if (end == list) break;
    count += static_cast<int>(last - first + 1);
    list = *end == ',' ? end + 1 : end;
  }
  return std::max(count, 1);
}

// Not sysconf: for the L3 of a virtual machine it gave 320 MiB where the guest has 32.
Caches find_caches() {
  int64_t bytes[4] = {};
  int shared_by[4] = {1, 1, 1, 1};
  for (int index = 0; index < 8; ++index) {
    const auto read = [index](const char* name, char (&text)[256]) {
      char path[96];
      std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index,
                    name);
      return read_line(path, text, sizeof text);
    };
    char text[256];
    if (!read("level", text)) break;
    const int level = std::atoi(text);
    if (level < 2 || level > 3 || !read("size", text)) continue;
    char* unit;
    const int64_t number = std::strtoll(text, &unit, 10);
    bytes[level] = number << (*unit == 'M' ? 20 : *unit == 'K' ? 10 : 0);
    if (read("shared_cpu_list", text)) shared_by[level] = count_listed(text);
  }
  // Hyperthreads share their core's L2; so many of them are one core to the L3 as well.
  return {bytes[2], bytes[3] * std::min(shared_by[2], shared_by[3]) / shared_by[3]};
}

// The cores that the quota of a cgroup is worth, or 0 for no quota. Containers see their own
// at the root.
int quota() {
  char line[64];
  long long limit = 0, period = 0;
  if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof line)) {
    if (std::sscanf(line, "%lld %lld", &limit, &period) != 2) return 0;  // "max 100000"
  } else if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line)) {
    limit = std::atoll(line);  // -1 for none
    if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", line, sizeof line))
      period = std::atoll(line);
  }
  if (limit <= 0 || period <= 0) return 0;
  // Rounded down: a team over its quota is stopped for the rest of each period, barriers and all.
  return static_cast<int>(std::max(limit / period, 1LL));
}
#elif defined(__APPLE__)
int64_t sysctl_number(const char* name) {
  int64_t value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

Caches find_caches() {
  Caches caches;
  caches.l2 = sysctl_number("hw.perflevel0.l2cachesize");  // Apple silicon: shared by a cluster
  if (const int64_t sharing = sysctl_number("hw.perflevel0.cpusperl2"); sharing > 1)
    caches.l2 /= sharing;
  if (!caches.l2) caches.l2 = sysctl_number("hw.l2cachesize");
  const int64_t cores = sysctl_number("hw.physicalcpu");
  caches.l3 = sysctl_number("hw.l3cachesize") / std::max<int64_t>(cores, 1);
  return caches;
}
#else
Caches find_caches() { return {}; }
#endif

const Caches& caches() {
  static const Caches found = [] {
    Caches c = find_caches();
    if (c.l2 <= 0) c.l2 = kL2;
    if (c.l3 <= 0) c.l3 = kL3;
    return c;
  }();
  return found;
}

}  // namespace

int64_t l2_bytes() { return caches().l2; }
int64_t l3_bytes() { return caches().l3; }

int cores() {
  int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  // Fails on machines of more than 1024 cores; the number above respects the mask there too.
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
  if (const int limit = quota()) n = std::min(n, limit);
#endif
  return std::max(n, 1);
}

}  // namespace conveyor
