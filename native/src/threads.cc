#include "threads.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <thread>

#include "conveyor/lstm.h"
#include "cpu.h"
#include "group.h"
#include "openmp.h"
#include "worker.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

// Each thread of the pool is claimed by itself: calls from many threads, and calls within calls,
// share what is free and never wait for each other.
//
// Measured on two virtual cores of a Zen 4 server, otherwise idle: a barrier of two takes 35 to
// 50 ns (flags of each member instead of a shared counter gained nothing); a call of two with an
// empty task 0.2 us while the worker is awake and 30 to 60 us where it sleeps.

namespace conveyor {
namespace {

// More meet at barriers for longer than they compute.
constexpr int kMostWorkers = 127;

// For so long a caller waits for workers; longer than one takes to wake. Where another program has
// just had its core that takes longer, and is worth a twentieth of what the call would take alone.
constexpr auto kJoin = std::chrono::microseconds(200);
constexpr auto kLongestJoin = std::chrono::milliseconds(5);

Clock::duration join_time(double seconds) {
  const std::chrono::duration<double> worth(seconds / 20);
  if (worth > kLongestJoin) return kLongestJoin;
  return std::max<Clock::duration>(kJoin, std::chrono::duration_cast<Clock::duration>(worth));
}

std::atomic<int> chosen_threads{0};
std::atomic<int> known_cores{0};
std::atomic<bool> pretending{false};

int usable_cores() {
  int n = known_cores.load(std::memory_order_relaxed);
  if (n == 0) known_cores.store(n = cores(), std::memory_order_relaxed);
  return n;
}

struct Pool {
  std::atomic<int> running{0};  // threads that are in a call
  std::atomic<bool> growing{false};
  std::atomic<int> size{0};
  // Other programs had the cores so many times in a row, and no worker is asked before then.
  std::atomic<int> misses{0};
  std::atomic<Clock::rep> alone_until{0};
  Worker workers[kMostWorkers];

  // One more worker, claimed already; null where no thread can be had.
  Worker* grow() {
    if (growing.exchange(true, std::memory_order_acquire)) return nullptr;
    Worker* made = nullptr;
    const int n = size.load(std::memory_order_relaxed);
    if (n < kMostWorkers && workers[n].claim()) {
      try {
        const SignalsBlocked blocked;
        std::thread(&Worker::work, &workers[n]).detach();
        made = &workers[n];
        size.store(n + 1, std::memory_order_release);
      } catch (const std::system_error&) {
        workers[n].release();
      } catch (const std::bad_alloc&) {
        workers[n].release();
      }
    }
    growing.store(false, std::memory_order_release);
    return made;
  }

  // At most `wanted` workers, as long as there are cores for them.
  int claim(int wanted, Worker** claimed) {
    const int cores = usable_cores();
    int n = 0;
    const auto room = [&] { return n < wanted && running.load() < cores; };
    const auto take = [&](Worker* worker) {
      running.fetch_add(1);
      claimed[n++] = worker;
    };
    const int there = size.load(std::memory_order_acquire);
    for (int k = 0; k < there && room(); ++k)
      if (workers[k].claim()) take(&workers[k]);
    while (room()) {
      Worker* const made = grow();
      if (!made) break;
      take(made);
    }
    return n;
  }

  void release(Worker* worker) {
    worker->release();
    running.fetch_sub(1);
  }

  bool asks_nobody() const {
    return misses.load(std::memory_order_relaxed) > 0 &&
           !pretending.load(std::memory_order_relaxed) &&
           Clock::now().time_since_epoch().count() < alone_until.load(std::memory_order_relaxed);
  }

  // Of `n` claimed workers, those that join; the others are released.
  int join(Job& job, Worker** claimed, int n, Clock::duration limit) {
    for (int k = 0; k < n; ++k) claimed[k]->offer(&job);
    const bool endless = pretending.load(std::memory_order_relaxed);
    const auto end = Clock::now() + (endless ? std::chrono::hours(1) : limit);
    int joined = 0;
    for (int k = 0; k < n; ++k) {
      if (claimed[k]->joined(end - Clock::now()))
        claimed[joined++] = claimed[k];
      else
        release(claimed[k]);
    }
    const int missed = joined == n ? 0 : std::min(misses.load(std::memory_order_relaxed) + 1, 6);
    if (missed) {
      const auto until = Clock::now() + std::chrono::milliseconds(1 << missed);
      alone_until.store(until.time_since_epoch().count(), std::memory_order_relaxed);
    }
    misses.store(missed, std::memory_order_relaxed);
    return joined;
  }
};

// Never destroyed: workers run on while the process ends, and may still be in a call.
alignas(Pool) unsigned char storage[sizeof(Pool)];
Pool* const pool = new (storage) Pool;

#if !defined(_WIN32)
// A child has none of its parent's threads, whatever they were doing, and perhaps other cores.
void after_fork_in_child() {
  new (storage) Pool;
  if (!pretending.load(std::memory_order_relaxed)) known_cores.store(0, std::memory_order_relaxed);
}
// When the library is loaded, not at the first call: a fork during that would find it half done.
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, after_fork_in_child);
#endif

}  // namespace

void Team::barrier() {
  if (size_ == 1) return;
  const uint32_t round = round_.load(std::memory_order_relaxed);
  if (waiting_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    waiting_.store(0, std::memory_order_relaxed);
    round_.store(round + 1);
    all_came_.ring();
    return;
  }
  all_came_.wait([&] { return round_.load() != round; });
}

thread_local Group* own_group = nullptr;

void run_team(int wanted, void (*task)(void*, Team&, int), void* context, double seconds) {
  if (own_group) return own_group->run(wanted, task, context);
  const bool others_run = pool->running.fetch_add(1) > 0;
  Worker* workers[kMostWorkers];
  int n = 0;
  Job job{task, context};
  const Clock::duration limit = join_time(seconds);
  // A long call asks again, whoever did not come the last time.
  if (wanted > 1 && (limit > kJoin || !pool->asks_nobody())) {
    if (!others_run && run_openmp_team(std::min(wanted, usable_cores()), task, context)) {
      pool->running.fetch_sub(1);
      return;
    }
    n = pool->claim(std::min(wanted - 1, kMostWorkers), workers);
    if (n > 0) n = pool->join(job, workers, n, limit);
  }
  Team team(n + 1);
  if (n > 0) {
    for (int k = 0; k < n; ++k) workers[k]->be(k + 1);
    job.team = &team;
    job.begun.store(true);
    job.beginning.ring();
  }
  task(context, team, 0);
  for (int k = 0; k < n; ++k) {
    workers[k]->wait_until_done();
    pool->release(workers[k]);
  }
  pool->running.fetch_sub(1);
}

int largest_team(int wanted) {
  return std::min({wanted ? wanted : conveyor_threads(), usable_cores(), kMostWorkers + 1});
}

void pretend_cores(int n) {
  known_cores.store(n, std::memory_order_relaxed);
  pretending.store(n > 0, std::memory_order_relaxed);
}

}  // namespace conveyor

extern "C" {

int conveyor_threads(void) {
  const int cores = conveyor::usable_cores();
  const int chosen = conveyor::chosen_threads.load(std::memory_order_relaxed);
  return chosen ? std::min(chosen, cores) : cores;
}

int conveyor_set_threads(int n) {
  if (n < 1) return CONVEYOR_INVALID;
  conveyor::chosen_threads.store(n, std::memory_order_relaxed);
  return CONVEYOR_OK;
}
}
