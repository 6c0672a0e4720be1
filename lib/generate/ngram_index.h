#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace octet {

/// The n-grams of a growing sequence of ids, each with the place where it ended last. Appending,
/// removing and finding take constant expected time and allocate nothing.
class NgramIndex {
 public:
  /// A match longer than this counts as this long.
  static constexpr int64_t longest = 8;

  explicit NgramIndex(int64_t capacity);

  int64_t size() const { return size_; }
  /// Precondition: size() + ids.size() <= capacity.
  void append(std::span<const int32_t> ids);
  /// Forgets every position from `length` on.
  void truncate(int64_t length);

  /// Where has the sequence been before as it would be with `id` appended? Fills `draft` with the
  /// ids that followed there; where they reach the sequence's end, the draft follows itself, so
  /// that a period goes on. Returns how many ids agree before it, `id` included; 0: nothing found.
  int64_t propose(int32_t id, std::span<int32_t> draft);

 private:
  /// The n-grams of one n.
  struct Table {
    int64_t n;
    std::vector<int32_t> last;     ///< open addressing: the position of an n-gram's last id, or -1
    std::vector<int32_t> earlier;  ///< for each position, what it replaced in `last`
  };

  int32_t& slot(Table& table, int64_t end) const;
  int64_t common_length(int64_t a, int64_t b) const;

  // One id is too weak a context; a long one tells apart places that look alike.
  std::array<Table, 3> tables_ = {Table{6, {}, {}}, Table{3, {}, {}}, Table{2, {}, {}}};
  std::vector<int32_t> ids_;  ///< [capacity + 1]: propose() puts its id behind the last
  int64_t size_ = 0;
};

}  // namespace octet
