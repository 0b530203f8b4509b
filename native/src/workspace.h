// Memory for one call, kept for the next: fresh pages cost more than some calls compute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace conveyor {

class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Room for `count` of T at the alignment of a cache line, not initialised. Throws
  // std::bad_alloc, also where the size does not fit.
  template <class T>
  T* take(int64_t count) {
    return static_cast<T*>(take(count, sizeof(T)));
  }

 private:
  struct Block {
    char* data;
    size_t size;
  };
  void* take(int64_t count, size_t size);

  std::vector<Block> blocks_;  // the last is in use, the others are full
  size_t used_ = 0, total_ = 0;
};

// Asks for huge pages where an array that somebody else allocated is large.
void prefer_huge_pages(void* data, size_t bytes);

}  // namespace conveyor
