// Runs all tests, or those whose name contains the argument.
#include <chrono>
#include <cstring>

#include "check.h"
#include "conveyor/lstm.h"

int main(int count, char** arguments) {
  using Clock = std::chrono::steady_clock;
  for (int n = 0; n < conveyor_target_count(); ++n) {
    const char* missing = conveyor_target_missing(n);
    std::printf("target %s %s\n", conveyor_target_name(n), *missing ? missing : "is tested");
  }
  int passed = 0, left_out = 0;
  for (const Test& test : tests()) {
    if (count > 1 && !std::strstr(test.name, arguments[1])) continue;
    const auto start = Clock::now();
    context() = test.name;
    skipped().clear();
    test.run();
    if (skipped().empty()) {
      const std::chrono::duration<double> took = Clock::now() - start;
      std::printf("ok %-60s %.2f s\n", test.name, took.count());
      ++passed;
    } else {
      std::printf("skipped %s: %s\n", test.name, skipped().c_str());
      ++left_out;
    }
    std::fflush(stdout);
  }
  std::printf("%d tests passed, %d skipped\n", passed, left_out);
  return passed ? 0 : 1;
}
