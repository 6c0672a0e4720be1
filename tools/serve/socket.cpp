#include "tools/serve/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <octet/error.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace octet::serve {
namespace {

/// Milliseconds that are left, rounded up.
int left(Clock::time_point deadline) {
  const auto rest = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(rest)>(rest, 0, 3'600'000));
}

sockaddr_storage local_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw Error(ErrorCode::Io, std::string("getsockname: ") + std::strerror(errno));
  return address;
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Socket::Socket(Descriptor fd) : fd_(std::move(fd)) {
  const int yes = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);  // tokens are small
  fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
}

Socket::Status Socket::wait(short events, Clock::time_point deadline) const {
  pollfd poll_fd{fd_.get(), events, 0};
  for (;;) {
    const int ready = poll(&poll_fd, 1, left(deadline));
    if (ready > 0) return Status::done;
    if (ready == 0) return Status::timeout;
    if (errno != EINTR) return Status::closed;
  }
}

Socket::Status Socket::read(void* data, size_t size, size_t& taken, Clock::time_point deadline) {
  for (;;) {
    const ssize_t count = recv(fd_.get(), data, size, 0);
    if (count > 0) {
      taken = static_cast<size_t>(count);
      return Status::done;
    }
    if (count == 0 || (errno != EAGAIN && errno != EINTR)) return Status::closed;
    if (const Status status = wait(POLLIN, deadline); status != Status::done) return status;
  }
}

Socket::Status Socket::write(std::string_view data, Clock::time_point deadline) {
  while (!data.empty()) {
    const ssize_t count = send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (count > 0) {
      data.remove_prefix(static_cast<size_t>(count));
      continue;
    }
    if (count < 0 && errno != EAGAIN && errno != EINTR) return Status::closed;
    if (const Status status = wait(POLLOUT, deadline); status != Status::done) return status;
  }
  return Status::done;
}

bool Socket::peer_closed() const {
  pollfd poll_fd{fd_.get(), POLLRDHUP, 0};
  return poll(&poll_fd, 1, 0) > 0;
}

void Socket::close_gently() {
  shutdown(fd_.get(), SHUT_WR);
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(1);
  char waste[4096];
  size_t taken = 0, total = 0;
  while (total < (1 << 20) && read(waste, sizeof waste, taken, deadline) == Status::done)
    total += taken;
}

std::string Socket::peer_address() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST] = "";
  if (getpeername(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, nullptr, 0,
                  NI_NUMERICHOST) != 0)
    return "unknown";
  return host;
}

Descriptor listen_on(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failure != 0)
    throw Error(ErrorCode::InvalidArgument, "host '" + host + "': " + gai_strerror(failure));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  Descriptor fd(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  // A server that restarts takes over the port of the one that just ended.
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (fd.get() < 0 || bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0)
    throw Error(ErrorCode::Io, "cannot listen on " + host + " port " + std::to_string(port) + ": " +
                                   std::strerror(errno));
  return fd;
}

int local_port(int fd) {
  const sockaddr_storage address = local_address(fd);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

bool is_loopback(int fd) {
  const sockaddr_storage address = local_address(fd);
  if (address.ss_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  return (ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24) == 127;
}

}  // namespace octet::serve
