// Several requests side by side, each on a share of the threads.
//
// Measured with two directions on two virtual cores of a Zen 4 server that others used too, against
// one after the other on both: 0.5 to 0.6 of the time where a step is too small to divide (a batch
// of one with up to 128 units, of four with 64), and mostly 0.6 to 0.9 elsewhere, as there are half as
// many barriers or none. Two or four layers of a stack over 100 steps: 0.54 to 0.88 there, 0.73
// to 1.0 elsewhere, and 1.0 to 1.1 where the weights of a layer do not stay in the cache of one core
// or a step has more than two million multiply-adds.
#include <algorithm>
#include <memory>
#include <vector>

#include "checks.h"
#include "conveyor/lstm.h"
#include "group.h"
#include "guarded.h"
#include "target.h"
#include "wavefront.h"

namespace conveyor {
namespace {

// Whether a request reads what the one before it writes: in a stack, the layer above the hidden
// states of the one below, and backward the other way.
bool follows(const conveyor_lstm& l, const conveyor_lstm_outputs&,
             const conveyor_lstm_outputs& before) {
  return l.x && l.x == before.states[CONVEYOR_HIDDEN_STATES];
}

bool follows(const conveyor_lstm&, const conveyor_lstm_gradients& g,
             const conveyor_lstm_gradients& before) {
  return before.d_x && g.d_states[CONVEYOR_HIDDEN_STATES] == before.d_x;
}

int64_t hidden(const conveyor_lstm& l) { return l.projection ? l.projection : l.units; }

// Whether what it reads has the shape of what the one before writes.
bool fits(const conveyor_lstm& l, const conveyor_lstm_outputs&, const conveyor_lstm& before) {
  return l.batch == before.batch && l.time_steps == before.time_steps &&
         l.features == hidden(before) && l.dtype == before.dtype;
}

bool fits(const conveyor_lstm& l, const conveyor_lstm_gradients&, const conveyor_lstm& before) {
  return l.batch == before.batch && l.time_steps == before.time_steps &&
         hidden(l) == before.features && l.dtype == before.dtype;
}

// The handler of signals is for the caller's thread alone: it asks, and tells the others.
struct Asking {
  int (*interrupted)(void);
  std::atomic<bool>* stop;
};
thread_local Asking asking{nullptr, nullptr};

int stopped() {
  if (asking.interrupted && asking.interrupted()) asking.stop->store(true);
  return asking.stop->load();
}

// Multiply-adds: of a call that wakes a thread, as threads_for() in kernels/shape.h; and of a step
// that two threads divide.
constexpr double kLeastWork = 100e3, kLeastDivided = 128e3;
// Of one gate: half a megabyte in float32. And of a step with enough to do for every thread.
constexpr double kLargestWeights = 1 << 15, kLargestStep = 2e6;

double step_work(const conveyor_lstm& l) {
  return 4.0 * static_cast<double>(l.batch) * static_cast<double>(l.features + l.units) *
         static_cast<double>(l.units);
}

// How many to run at once; with the rest of a division some would wait for others.
int side_by_side(const std::vector<conveyor_lstm>& lstms) {
  const int count = static_cast<int>(lstms.size()), threads = lstms[0].threads;
  double largest = 0, all = 0;
  for (const conveyor_lstm& l : lstms) {
    largest = std::max(largest, step_work(l));
    all += step_work(l) * static_cast<double>(l.time_steps);
  }
  if (threads < 2 || all < kLeastWork) return 1;
  const int groups = std::min(count, threads);
  const bool divides = threads % groups == 0 && count % groups == 0;
  return divides || largest < kLeastDivided ? groups : 1;
}

// How many layers of a stack to run at once, each on one thread: those whose weights stay in the
// second-level cache of a core, where one has no threads left for itself or too small a step.
int layers_at_once(const conveyor_lstm* const* lstms, int32_t count) {
  double largest = 0, all = 0;
  int threads = 1;
  for (int32_t k = 0; k < count; ++k) {
    const conveyor_lstm& l = *lstms[k];
    const double weights = static_cast<double>(l.features + l.units) * static_cast<double>(l.units);
    if (weights > kLargestWeights) return 1;
    largest = std::max(largest, step_work(l));
    all += step_work(l) * static_cast<double>(l.time_steps);
    threads = std::max(threads, largest_team(l.threads));
  }
  const int layers = std::min<int>(count, threads);
  const double most = layers < threads ? kLeastDivided : kLargestStep;
  return all < kLeastWork || largest >= most ? 1 : layers;
}

template <class Results>
class Together {
 public:
  using Run = int (*)(const conveyor_lstm&, const Results&, const Wavefront&);

  // Of a stack, so many layers as run at once.
  Together(const conveyor_lstm* const* lstms, const Results* const* results, int count, Run run,
           int (*interrupted)(void))
      : run_(run), interrupted_(interrupted), results_(results) {
    int threads = 0;
    for (int k = 0; k < count; ++k) {
      lstms_.push_back(settled(*lstms[k]));
      lstms_.back().interrupted = interrupted;
      threads = std::max(threads, lstms_.back().threads);
    }
    for (conveyor_lstm& l : lstms_) l.threads = threads;
    waves_.resize(lstms_.size());
    progress_.reset(new Progress[lstms_.size()]);
    for (size_t k = 1; k < lstms_.size(); ++k)
      if (follows(lstms_[k], *results_[k], *results_[k - 1])) {
        waves_[k].before = waves_[k - 1].own = &progress_[k - 1];
        stack_ = true;
      }
    statuses_.assign(lstms_.size(), CONVEYOR_OK);
  }

  int run() {
    const int groups = stack_ ? static_cast<int>(lstms_.size()) : side_by_side(lstms_);
    if (groups == 1) {
      for (size_t k = 0; k < lstms_.size(); ++k)
        if (const int status = run_(lstms_[k], *results_[k], {})) return status;
      return CONVEYOR_OK;
    }
    groups_.reset(new Group[static_cast<size_t>(groups)]);
    double work = 0;
    for (const conveyor_lstm& l : lstms_) work += step_work(l) * static_cast<double>(l.time_steps);
    auto task = [&](Team& team, int member) { take_part(team, member, groups); };
    run_team(stack_ ? groups : lstms_[0].threads, task, work / groups / 50e9);
    for (const int status : statuses_) {
      if (status == CONVEYOR_INVALID) return invalid("an internal error");
      if (status) return status;
    }
    return CONVEYOR_OK;
  }

 private:
  void take_part(Team& team, int member, int wanted) {
    const int groups = std::min(wanted, team.size());
    if (groups == team.size())
      take_turns(member);
    else
      take_part_in_a_group(team, member, groups);
    // Somebody has to ask until the last is done.
    while (member == 0 && !wait_awake([this] { return done_.load() == lstms_.size(); },
                                      std::chrono::milliseconds(50)))
      stopped();
  }

  // Each takes the next that nobody began: one whose core is busy elsewhere keeps nobody waiting.
  void take_turns(int member) {
    Group alone;
    for (size_t k; (k = next_.fetch_add(1)) < lstms_.size();) run_one(k, alone, member);
  }

  void take_part_in_a_group(Team& team, int member, int groups) {
    if (member == 0) divide(team.size(), groups);
    team.barrier();
    const int number = member * groups / team.size();
    Group& group = groups_[static_cast<size_t>(number)];
    const int first = begin(number, groups, team.size());
    if (member != first) return group.serve(member - first);
    for (auto k = static_cast<size_t>(number); k < lstms_.size(); k += static_cast<size_t>(groups))
      run_one(k, group, member);
    group.close();
  }

  void run_one(size_t k, Group& group, int member) {
    conveyor_lstm l = lstms_[k];
    l.threads = group.size();
    l.interrupted = stopped;
    own_group = &group;
    asking = {member == 0 ? interrupted_ : nullptr, &stop_};
    statuses_[k] = guarded([&] { return run_(l, *results_[k], waves_[k]); });
    own_group = nullptr;
    // Also where it failed: nobody waits for ever.
    if (waves_[k].own) waves_[k].own->reach(l.time_steps);
    done_.fetch_add(1);
  }

  static int begin(int group, int groups, int members) {
    return (group * members + groups - 1) / groups;
  }

  void divide(int size, int groups) {
    for (int g = 0; g < groups; ++g)
      groups_[static_cast<size_t>(g)].be(begin(g + 1, groups, size) - begin(g, groups, size));
  }

  const Run run_;
  int (*const interrupted_)(void);
  const Results* const* const results_;
  std::vector<conveyor_lstm> lstms_;
  std::vector<Wavefront> waves_;
  std::unique_ptr<Progress[]> progress_;
  bool stack_ = false;
  std::vector<int> statuses_;
  std::unique_ptr<Group[]> groups_;
  std::atomic<size_t> next_{0}, done_{0};
  std::atomic<bool> stop_{false};
};

template <class Results>
int run_together(const conveyor_lstm* const* lstms, const Results* const* results, int32_t count,
                 int (*run)(const conveyor_lstm&, const Results&, const Wavefront&)) {
  no_error();
  if (count < 1 || !lstms || !results) return invalid("count: none, or null");
  bool stack = false;
  for (int32_t k = 0; k < count; ++k) {
    if (const int status = check(lstms[k], results[k])) return status;
    if (k == 0 || !follows(*lstms[k], *results[k], *results[k - 1])) continue;
    if (!fits(*lstms[k], *results[k], *lstms[k - 1]))
      return invalid("x: what the request before returns has another batch, time_steps or size");
    stack = true;
  }
  const int at_once = stack ? layers_at_once(lstms, count) : count;
  return guarded([&] {
    for (int32_t first = 0; first < count; first += at_once) {
      Together<Results> some(lstms + first, results + first, std::min(at_once, count - first), run,
                             lstms[0]->interrupted);
      if (const int status = some.run()) return status;
    }
    return static_cast<int>(CONVEYOR_OK);
  });
}

}  // namespace
}  // namespace conveyor

extern "C" {

int conveyor_lstm_forward_together(const conveyor_lstm* const* lstms,
                                   const conveyor_lstm_outputs* const* outputs, int32_t count) {
  return conveyor::run_together(lstms, outputs, count, conveyor::target().forward);
}

int conveyor_lstm_backward_together(const conveyor_lstm* const* lstms,
                                    const conveyor_lstm_gradients* const* gradients,
                                    int32_t count) {
  return conveyor::run_together(lstms, gradients, count, conveyor::target().backward);
}
}
