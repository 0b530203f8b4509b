#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

#include "conveyor/lstm.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define CONVEYOR_PAUSE() _mm_pause()
#else
#define CONVEYOR_PAUSE() std::this_thread::yield()
#endif

namespace conveyor {
namespace {

constexpr int kMaxThreads = 256;

// Spins for so long before it gives the core away: calls that follow each other at once find
// the workers awake, and a core that somebody else needs is not burnt.
constexpr int kSpins = 4000;

struct Pool {
  std::mutex busy;  // held by the call that owns the workers
  std::mutex mutex;
  std::condition_variable wake;
  int workers = 0;                // that exist
  std::atomic<uint32_t> call{0};  // raised for every call
  std::atomic<int> left{0};       // workers that are not done with this call
  std::atomic<int> sleeping{0};
  int members = 0;  // of this call
  void (*task)(void*, Team&, int) = nullptr;
  void* context = nullptr;
  Team* team = nullptr;
};

// Never freed: workers may outlive static destructors, and end with the process.
Pool* pool = new Pool;

void after_fork_in_child() { pool = new Pool; }  // the child has none of its parent's threads

std::once_flag at_fork;

void work(Pool* p, int member, uint32_t seen) {
  for (;;) {
    for (int spins = 0; p->call.load(std::memory_order_acquire) == seen; ++spins) {
      if (spins < kSpins) {
        CONVEYOR_PAUSE();
        continue;
      }
      std::unique_lock<std::mutex> lock(p->mutex);
      p->sleeping.fetch_add(1);
      p->wake.wait(lock, [&] { return p->call.load(std::memory_order_acquire) != seen; });
      p->sleeping.fetch_sub(1);
    }
    seen = p->call.load(std::memory_order_acquire);
    if (member < p->members) {
      p->task(p->context, *p->team, member);
    }
    p->left.fetch_sub(1, std::memory_order_release);
  }
}

// As many workers as can be had; the caller holds `busy`.
void grow(Pool* p, int wanted) {
  while (p->workers < wanted) {
    try {
      std::thread(work, p, p->workers + 1, p->call.load()).detach();
      ++p->workers;
    } catch (const std::system_error&) {
      return;
    }
  }
}

int cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const int n = static_cast<int>(std::thread::hardware_concurrency());
  return n > 0 ? n : 1;
}

std::atomic<int> threads{0};

}  // namespace

void Team::barrier() {
  if (size_ == 1) return;
  const uint32_t round = round_.load(std::memory_order_relaxed);
  if (waiting_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    waiting_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
    if (spins < kSpins) {
      CONVEYOR_PAUSE();
    } else {
      std::this_thread::yield();
    }
  }
}

void run_team(int wanted, void (*task)(void*, Team&, int), void* context) {
  std::call_once(at_fork, [] { pthread_atfork(nullptr, nullptr, after_fork_in_child); });
  Pool* p = pool;
  std::unique_lock<std::mutex> busy(p->busy, std::defer_lock);
  // Not waited for: another call, perhaps one that this call is nested in, has them.
  if (wanted <= 1 || !busy.try_lock()) {
    Team alone(1);
    return task(context, alone, 0);
  }
  grow(p, (wanted < kMaxThreads ? wanted : kMaxThreads) - 1);
  Team team(wanted < p->workers + 1 ? wanted : p->workers + 1);
  p->members = team.size();
  p->task = task;
  p->context = context;
  p->team = &team;
  p->left.store(p->workers, std::memory_order_relaxed);
  {
    std::lock_guard<std::mutex> lock(p->mutex);
    p->call.fetch_add(1, std::memory_order_release);
  }
  if (p->sleeping.load() > 0) p->wake.notify_all();
  task(context, team, 0);
  for (int spins = 0; p->left.load(std::memory_order_acquire) > 0; ++spins) {
    if (spins < kSpins) {
      CONVEYOR_PAUSE();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace conveyor

extern "C" {

int conveyor_threads(void) {
  int n = conveyor::threads.load(std::memory_order_relaxed);
  if (n == 0) conveyor::threads.store(n = conveyor::cores(), std::memory_order_relaxed);
  return n;
}

int conveyor_set_threads(int n) {
  if (n < 1) return CONVEYOR_INVALID;
  conveyor::threads.store(n, std::memory_order_relaxed);
  return CONVEYOR_OK;
}
}
