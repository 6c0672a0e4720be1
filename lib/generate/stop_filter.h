#pragma once
#include <string>
#include <vector>

namespace octet {

/// Holds back text that may be the beginning of a stop string.
class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops);

  /// Adds text; returns what can be given out. found(): a stop string stood in it.
  std::string push(const std::string& text);
  /// What is left.
  std::string finish() { return take(found_ ? 0 : held_.size()); }
  bool found() const { return found_; }

 private:
  size_t overlap(const std::string& stop) const;
  std::string take(size_t count);

  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

}  // namespace octet
