#pragma once
#include <cstdint>
#include <list>
#include <mutex>

namespace octet::serve {

/// The open connections, at most so many. Who waits for a request (idle, or sending it slowly) has
/// to go when a new connection needs the place, the longest waiting first: however many slow
/// clients there are, one that sends its request at once is served. All functions from any thread.
class ConnectionTable {
 public:
  explicit ConnectionTable(int64_t capacity) : capacity_(capacity) {}

  class Seat;
  enum class State { waiting, serving };

  struct Counts {
    int64_t open = 0;
    int64_t serving = 0;
    uint64_t accepted = 0;
    uint64_t evicted = 0;  ///< to make place
    uint64_t refused = 0;  ///< all places were serving
  };
  Counts counts() const;
  /// Shuts down every connection that waits, now and from now on.
  void stop_waiting();
  /// Shuts down every connection.
  void stop_all();

 private:
  struct Entry {
    int fd;
    State state = State::waiting;
    bool leaving = false;  // was shut down, gives its place away
  };
  using Place = std::list<Entry>::iterator;

  bool enter(int fd, Place& place);
  bool make_room();
  void shut_down(Entry& entry);

  const int64_t capacity_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // who began to wait last is at the end
  Counts counts_;
  int64_t staying_ = 0;  // entries that are not leaving
  bool stopping_ = false;
};

/// A place in the table, given back with the object. The descriptor must outlive it.
class ConnectionTable::Seat {
 public:
  Seat(ConnectionTable& table, int fd) : table_(table), taken_(table.enter(fd, place_)) {}
  ~Seat();
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

  /// False if the table is full of connections that are being served.
  bool taken() const { return taken_; }
  void set(State state);

 private:
  ConnectionTable& table_;
  Place place_;
  bool taken_;
};

}  // namespace octet::serve
