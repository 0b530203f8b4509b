// As much of a test framework as these tests need.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

struct Test {
  const char* name;
  void (*run)();
};
inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}
struct AddTest {
  AddTest(const char* name, void (*run)()) { tests().push_back({name, run}); }
};
#define TEST(name)                              \
  static void name();                           \
  static const AddTest add_##name{#name, name}; \
  static void name()

// Why the test that runs cannot run here; "" where it can.
inline std::string& skipped() {
  static std::string reason;
  return reason;
}
#define SKIP(reason) return void(skipped() = reason)

// What the test is at, for the message of a check that fails.
inline std::string& context() {
  static thread_local std::string text;
  return text;
}
class At {
 public:
  explicit At(const std::string& text) : outer_(context()) { context() += ": " + text; }
  ~At() { context() = outer_; }
  At(const At&) = delete;
  At& operator=(const At&) = delete;

 private:
  const std::string outer_;
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: %s\n  %s\n", file, line, what.c_str(), context().c_str());
  std::fflush(nullptr);
  std::_Exit(1);  // a child of fork too
}
#define CHECK(condition)                                    \
  do {                                                      \
    if (!(condition)) fail(__FILE__, __LINE__, #condition); \
  } while (false)
#define CHECK_EQUAL(actual, expected)                                          \
  do {                                                                         \
    const auto a = (actual);                                                   \
    const auto e = (expected);                                                 \
    if (!(a == e))                                                             \
      fail(__FILE__, __LINE__,                                                 \
           #actual " is " + std::to_string(a) + ", not " + std::to_string(e)); \
  } while (false)

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif

// Of so many random cases, those that there is time for: sanitizers make all slow. What one thread
// computes is of no interest to ThreadSanitizer.
inline int cases(int count) {
#if defined(THREAD_SANITIZER)
  return count < 2 ? count : 2;
#elif defined(CONVEYOR_SANITIZED)
  return count < 8 ? count : 8 + (count - 8) / 8;
#else
  return count;
#endif
}
