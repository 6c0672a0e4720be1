#pragma once
// The best of many scored ids.
#include <algorithm>
#include <cstddef>
#include <span>

namespace octet {

/// Keeps the best of what it is offered, in `room`, which is not empty: the highest scores, of
/// equal ones the lowest ids. score: T's member that is the score.
template <class T, auto score>
class BestOf {
 public:
  explicit BestOf(std::span<T> room) : room_(room) {}

  static bool better(const T& a, const T& b) {
    return a.*score != b.*score ? a.*score > b.*score : a.id < b.id;
  }
  bool full() const { return size_ == room_.size(); }
  /// Of those kept; there is one.
  const T& worst() const { return room_.front(); }

  void offer(const T& one) {
    if (full()) {
      if (!better(one, worst())) return;
      std::pop_heap(room_.begin(), end(), better);
      --size_;
    }
    room_[size_++] = one;
    std::push_heap(room_.begin(), end(), better);
  }
  /// Sorts those kept, the best first, and returns how many there are.
  size_t sort() {
    std::sort_heap(room_.begin(), end(), better);
    return size_;
  }

 private:
  auto end() const { return room_.begin() + static_cast<std::ptrdiff_t>(size_); }

  std::span<T> room_;
  size_t size_ = 0;  // of a heap, the worst of them first
};

}  // namespace octet
