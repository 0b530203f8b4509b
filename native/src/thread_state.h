// What a worker takes over from the thread it works for, and what it must not get.
#pragma once

#include <cstdint>
#include <thread>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

namespace conveyor {

// Tells the processor that this thread only waits.
inline void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");  // `yield` does nothing on most
#else
  std::this_thread::yield();
#endif
}

// How floats are rounded and whether the smallest become zero. TensorFlow and XLA set this in
// their threads; were it not the same in all members of a team, a result would depend on who
// computed it.
#if defined(__x86_64__) || defined(_M_X64)
using FloatMode = unsigned;
inline FloatMode float_mode() { return _mm_getcsr(); }
inline void set_float_mode(FloatMode mode) {
  constexpr FloatMode kExceptions = 0x3f;  // that came up so far
  if ((mode ^ _mm_getcsr()) & ~kExceptions) _mm_setcsr(mode & ~kExceptions);
}
#elif defined(__aarch64__) && !defined(_MSC_VER)
using FloatMode = uint64_t;
inline FloatMode float_mode() {
  FloatMode mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
inline void set_float_mode(FloatMode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
using FloatMode = int;
inline FloatMode float_mode() { return 0; }
inline void set_float_mode(FloatMode) {}
#endif

// While it lives, new threads get no signals but those of their own faults and of profilers:
// handlers belong to the threads of the program.
class SignalsBlocked {
 public:
#if defined(_WIN32)
  SignalsBlocked() {}
#else
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF})
      sigdelset(&all, own);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
#endif
};

}  // namespace conveyor
