#include "workspace.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace conveyor {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kFirst = size_t{1} << 20;
// Calls that run at the same time each leave one; more are given back.
constexpr size_t kKept = 4;
constexpr size_t kLargestKept = size_t{256} << 20;

void* allocate(size_t size) {
#if defined(_WIN32)
  void* data = _aligned_malloc(size, kLine);
#else
  void* data = nullptr;
  if (posix_memalign(&data, size >= kHugePage ? kHugePage : kLine, size)) data = nullptr;
#endif
  if (!data) throw std::bad_alloc();
  prefer_huge_pages(data, size);
  return data;
}

void release(void* data) {
#if defined(_WIN32)
  _aligned_free(data);
#else
  std::free(data);
#endif
}

struct Kept {
  std::mutex mutex;
  std::vector<std::pair<char*, size_t>> blocks;
};
// Never freed: a call may still run while the process ends.
Kept& kept() {
  static Kept* k = new Kept;
  return *k;
}

}  // namespace

void prefer_huge_pages(void* data, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const auto start = (reinterpret_cast<uintptr_t>(data) + kHugePage - 1) / kHugePage * kHugePage;
  const auto end = (reinterpret_cast<uintptr_t>(data) + bytes) / kHugePage * kHugePage;
  if (end > start) madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

Workspace::Workspace() {
  Kept& k = kept();
  blocks_.reserve(8);
  std::lock_guard<std::mutex> lock(k.mutex);
  if (k.blocks.empty()) return;
  blocks_.push_back({k.blocks.back().first, k.blocks.back().second});
  k.blocks.pop_back();
}

Workspace::~Workspace() {
  // One block for all of it next time.
  if (blocks_.size() > 1) {
    for (Block& block : blocks_) release(block.data);
    blocks_.clear();
    try {
      const size_t size = (total_ + kHugePage - 1) / kHugePage * kHugePage;
      if (size <= kLargestKept) blocks_.push_back({static_cast<char*>(allocate(size)), size});
    } catch (const std::bad_alloc&) {
    }
  }
  if (blocks_.empty()) return;
  Kept& k = kept();
  {
    std::lock_guard<std::mutex> lock(k.mutex);
    if (k.blocks.size() < kKept && blocks_[0].size <= kLargestKept) {
      k.blocks.reserve(kKept);
      k.blocks.emplace_back(blocks_[0].data, blocks_[0].size);
      return;
    }
  }
  release(blocks_[0].data);
}

void* Workspace::take(int64_t count, size_t size) {
  if (count < 0 || static_cast<uint64_t>(count) > std::numeric_limits<size_t>::max() / 4 / size)
    throw std::bad_alloc();
  const size_t bytes = (static_cast<size_t>(count) * size + kLine - 1) / kLine * kLine + kLine;
  total_ += bytes;
  if (blocks_.empty() || blocks_.back().size - used_ < bytes) {
    blocks_.reserve(blocks_.size() + 1);
    const size_t room = std::max(bytes, kFirst);
    blocks_.push_back({static_cast<char*>(allocate(room)), room});
    used_ = 0;
  }
  void* data = blocks_.back().data + used_;
  used_ += bytes;
  return data;
}

}  // namespace conveyor
