#pragma once
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace octet::serve {

using Clock = std::chrono::steady_clock;

/// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// A connected socket on which nothing waits beyond a deadline. One thread at a time, except that
/// another one may shut the descriptor down.
class Socket {
 public:
  explicit Socket(Descriptor fd);

  enum class Status { done, timeout, closed };
  /// Waits for bytes and takes what there is, at least one.
  Status read(void* data, size_t size, size_t& taken, Clock::time_point deadline);
  /// Writes all of it.
  Status write(std::string_view data, Clock::time_point deadline);
  /// True if the peer has closed the connection or its sending half.
  bool peer_closed() const;
  /// Says that nothing more is coming, and reads what the peer still sends, a while: closing with
  /// bytes unread would reset the connection and take the last answer with it.
  void close_gently();

  std::string peer_address() const;
  int fd() const { return fd_.get(); }

 private:
  Status wait(short events, Clock::time_point deadline) const;

  Descriptor fd_;
};

/// A socket that listens. port 0 takes a free one.
/// Errors: InvalidArgument for a host that does not resolve; Io naming host and port.
Descriptor listen_on(const std::string& host, int port);
int local_port(int fd);
/// Whether the socket can only be reached from this machine.
bool is_loopback(int fd);

}  // namespace octet::serve
