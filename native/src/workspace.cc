#include "workspace.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>
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
#if defined(CONVEYOR_SANITIZED)
// Each array is a block of its own, so that the sanitizer sees what is read or written beside it,
// and full of NaN, so that results show what was never written.
constexpr bool kStrict = true;
#else
constexpr bool kStrict = false;
#endif

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

// Blocks that no call uses, each with its size in its first bytes. No mutex: a child of fork
// would find it locked for ever where another thread held it. Never freed: a call may still run
// while the process ends.
std::atomic<char*> kept[kKept];

size_t size_of(const char* block) {
  size_t size;
  std::memcpy(&size, block, sizeof size);
  return size;
}

// False where enough are kept already.
bool keep(char* block, size_t size) {
  std::memcpy(block, &size, sizeof size);
  for (auto& place : kept) {
    char* none = nullptr;
    if (place.compare_exchange_strong(none, block, std::memory_order_release,
                                      std::memory_order_relaxed))
      return true;
  }
  return false;
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
  blocks_.reserve(8);
  if (kStrict) return;
  for (auto& place : kept) {
    if (!place.load(std::memory_order_relaxed)) continue;
    if (char* const block = place.exchange(nullptr, std::memory_order_acquire)) {
      blocks_.push_back({block, size_of(block)});
      return;
    }
  }
}

Workspace::~Workspace() {
  // One block for all of it next time.
  if (blocks_.size() > 1 || kStrict) {
    for (Block& block : blocks_) release(block.data);
    blocks_.clear();
    if (kStrict) return;
    try {
      const size_t size = (total_ + kHugePage - 1) / kHugePage * kHugePage;
      if (size <= kLargestKept) blocks_.push_back({static_cast<char*>(allocate(size)), size});
    } catch (const std::bad_alloc&) {
    }
  }
  if (blocks_.empty()) return;
  const Block& block = blocks_[0];
  if (block.size > kLargestKept || !keep(block.data, block.size)) release(block.data);
}

void* Workspace::take(int64_t count, size_t size) {
  if (count < 0 || static_cast<uint64_t>(count) > std::numeric_limits<size_t>::max() / 4 / size)
    throw std::bad_alloc();
  const size_t bytes = (static_cast<size_t>(count) * size + kLine - 1) / kLine * kLine + kLine;
  if (kStrict) {
    const size_t exact = std::max(static_cast<size_t>(count) * size, size_t{1});
    blocks_.reserve(blocks_.size() + 1);
    blocks_.push_back({static_cast<char*>(allocate(exact)), exact});
    return std::memset(blocks_.back().data, 0xff, exact);
  }
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
