#include "tools/serve/connection_table.h"

#include <sys/socket.h>

#include <algorithm>

namespace octet::serve {

ConnectionTable::Counts ConnectionTable::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.open = static_cast<int64_t>(entries_.size());
  counts.serving = std::count_if(entries_.begin(), entries_.end(),
                                 [](const Entry& entry) { return entry.state == State::serving; });
  return counts;
}

void ConnectionTable::shut_down(Entry& entry) {
  if (entry.leaving) return;
  shutdown(entry.fd, SHUT_RDWR);  // wakes the thread that reads from it
  entry.leaving = true;
  --staying_;
}

bool ConnectionTable::make_room() {
  if (staying_ < capacity_) return true;
  const auto oldest = std::find_if(entries_.begin(), entries_.end(), [](const Entry& entry) {
    return entry.state == State::waiting && !entry.leaving;
  });
  if (oldest == entries_.end()) return false;
  shut_down(*oldest);
  ++counts_.evicted;
  return true;
}

bool ConnectionTable::enter(int fd, Place& place) {
  const std::lock_guard lock(mutex_);
  if (stopping_ || !make_room()) {
    ++counts_.refused;
    return false;
  }
  place = entries_.insert(entries_.end(), Entry{fd});
  ++staying_;
  ++counts_.accepted;
  return true;
}

void ConnectionTable::stop_waiting() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (Entry& entry : entries_)
    if (entry.state == State::waiting) shut_down(entry);
}

void ConnectionTable::stop_all() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (Entry& entry : entries_) shut_down(entry);
}

ConnectionTable::Seat::~Seat() {
  if (!taken_) return;
  const std::lock_guard lock(table_.mutex_);
  if (!place_->leaving) --table_.staying_;
  table_.entries_.erase(place_);
}

void ConnectionTable::Seat::set(State state) {
  const std::lock_guard lock(table_.mutex_);
  place_->state = state;
  if (state != State::waiting) return;
  table_.entries_.splice(table_.entries_.end(), table_.entries_, place_);
  if (table_.stopping_) table_.shut_down(*place_);
}

}  // namespace octet::serve
