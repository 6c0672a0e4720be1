#include "lib/generate/stop_filter.h"

#include <algorithm>

namespace octet {

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase(stops_, std::string());
}

std::string StopFilter::push(const std::string& text) {
  held_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    found_ = true;
    return take(first);
  }
  size_t keep = 0;
  for (const std::string& stop : stops_) keep = std::max(keep, overlap(stop));
  return take(held_.size() - keep);
}

/// The longest end of held_ that begins `stop`.
size_t StopFilter::overlap(const std::string& stop) const {
  for (size_t n = std::min(stop.size() - 1, held_.size()); n > 0; --n)
    if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) return n;
  return 0;
}

std::string StopFilter::take(size_t count) {
  std::string text = held_.substr(0, count);
  held_.erase(0, count);
  return text;
}

}  // namespace octet
