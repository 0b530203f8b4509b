// Memory that a call takes for itself, and what happens where there is none.
#include "workspace.h"

#include <cstring>
#include <new>
#include <thread>

#include "request.h"

#if defined(__linux__)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

// The tests ask for more than there is; sanitizers end the process then unless told otherwise.
#if defined(CONVEYOR_SANITIZED)
extern "C" CONVEYOR_API const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}
extern "C" CONVEYOR_API const char* __tsan_default_options() {
  return "allocator_may_return_null=1";
}
#endif

namespace {

using conveyor::Workspace;

TEST(arrays_of_a_workspace_are_aligned_and_apart) {
  for (int again = 0; again < 3; ++again) {  // in fresh memory, and in what was kept of it
    Workspace memory;
    struct Taken {
      unsigned char* data;
      int64_t size;
    };
    std::vector<Taken> arrays;
    Random random{5};
    for (int n = 0; n < 200; ++n) {
      const int64_t size = n % 20 ? random.below(3000) : 1 + random.below(3 << 20);
      auto* data = memory.take<unsigned char>(size);
      CHECK_EQUAL(reinterpret_cast<uintptr_t>(data) % 64, uintptr_t{0});
      std::memset(data, n, static_cast<size_t>(size));
      arrays.push_back({data, size});
    }
    for (size_t n = 0; n < arrays.size(); ++n)
      for (int64_t k = 0; k < arrays[n].size; ++k) CHECK(arrays[n].data[k] == n);
  }
}

TEST(a_workspace_has_no_room_for_sizes_that_do_not_fit) {
  Workspace memory;
  for (const int64_t count : {int64_t{-1}, INT64_MIN, INT64_MAX, INT64_MAX / 4, INT64_MAX / 32}) {
    bool refused = false;
    try {
      memory.take<double>(count);
    } catch (const std::bad_alloc&) {
      refused = true;
    }
    CHECK(refused);
  }
  std::memset(memory.take<double>(10), 0, 80);  // and goes on
}

TEST(a_workspace_that_memory_has_no_room_for_is_a_status) {
  on_every_target([] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      Options options;
      options.dtype = dtype;
      Request request(options);
      CHECK_EQUAL(request.forward(true), CONVEYOR_OK);
      const conveyor_lstm good = request.lstm;
      request.lstm.units = int64_t{1} << 23;  // weights of 2^48 elements, which nobody reads
      request.lstm.features = 0;
      conveyor_lstm_outputs outputs{};
      outputs.size = sizeof outputs;
      CHECK_EQUAL(conveyor_lstm_forward(&request.lstm, &outputs), CONVEYOR_OUT_OF_MEMORY);
      CHECK_EQUAL(std::strlen(conveyor_error()), size_t{0});
      conveyor_lstm_gradients gradients{};
      gradients.size = sizeof gradients;
      gradients.hidden_states = gradients.reserve = request.x.data();
      CHECK_EQUAL(conveyor_lstm_backward(&request.lstm, &gradients), CONVEYOR_OUT_OF_MEMORY);
      int status = CONVEYOR_OK;
      CHECK(!conveyor_stream_new(&request.lstm, &status));
      CHECK_EQUAL(status, CONVEYOR_OUT_OF_MEMORY);
      request.lstm = good;
      CHECK_EQUAL(request.backward(), CONVEYOR_OK);
    }
  });
}

TEST(memory_that_runs_out_during_a_call_is_a_status) {
#if !defined(__linux__)
  SKIP("no limit on memory that this system keeps to");
#elif defined(CONVEYOR_SANITIZED)
  SKIP("sanitizers need all addresses");
#else
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    Request request(Options{});
    conveyor_lstm large = request.lstm;
    large.units = 6000;  // more to pack than any workspace keeps; its arrays are never read
    conveyor_lstm_outputs outputs{};
    outputs.size = sizeof outputs;
    rlimit before;
    CHECK_EQUAL(getrlimit(RLIMIT_AS, &before), 0);
    const rlimit tight = {rlim_t{1} << 20, before.rlim_max};
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &tight), 0);
    const int status = conveyor_lstm_forward(&large, &outputs);
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &before), 0);
    CHECK_EQUAL(status, CONVEYOR_OUT_OF_MEMORY);
    CHECK_EQUAL(request.forward(true), CONVEYOR_OK);
    CHECK_EQUAL(request.backward(), CONVEYOR_OK);
    _exit(0);
  }
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 0);
#endif
}

}  // namespace
