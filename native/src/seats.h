// A core for each member of a team.
#pragma once

#include <atomic>
#include <cstdint>

namespace conveyor {

// Linux may wake a thread on the core of the one that wakes it, and leave both there, each at
// half the speed, while another core has nothing to do: counted after pauses of a tenth of a
// second, in 149 of 150 calls, to the end of calls of 6 ms. So a member that finds its core taken
// moves to one that is not; where it may run is afterwards as before. Elsewhere nothing is done.
class Seats {
 public:
  // For the caller of a team, before anybody else comes: it stays where it is.
  void keep();
  // For each of the others.
  void find();

 private:
  static constexpr int kCores = 1024;
  bool mark(int core);  // whether it was taken

  std::atomic<uint64_t> taken_[kCores / 64] = {};
};

}  // namespace conveyor
