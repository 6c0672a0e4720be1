#pragma once
#include <nanobind/nanobind.h>
#include <octet/session.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

/// A session for Python, where several threads may hold it: they take turns. Copies refer to the
/// same one.
class SharedSession {
 public:
  explicit SharedSession(octet::Session session)
      : state_(std::make_shared<State>(std::move(session))) {}

  /// work(Session&), when no other thread is in the session, without the interpreter's lock.
  template <class Work>
  auto use(const Work& work) const {
    nanobind::gil_scoped_release released;
    std::lock_guard turn(state_->mutex);
    return work(state_->session);
  }

 private:
  struct State {
    explicit State(octet::Session from) : session(std::move(from)) {}
    octet::Session session;
    std::mutex mutex;
  };
  std::shared_ptr<State> state_;
};

/// An answer as a Python iterator of its pieces.
class SharedStream {
 public:
  /// start(Session&) gives the octet::TextStream.
  template <class Start>
  SharedStream(SharedSession session, const Start& start) : session_(std::move(session)) {
    session_.use([&](octet::Session& target) { stream_.emplace(start(target)); });
  }
  SharedStream(const SharedStream&) = delete;
  SharedStream& operator=(const SharedStream&) = delete;
  ~SharedStream() { close(); }

  /// The next piece; nothing at the end.
  std::optional<std::string> next();
  /// Ends the answer here.
  void close();
  /// The pieces that are left, joined. What a signal handler raises ends the answer, and comes out.
  std::string rest();

 private:
  void finish();

  SharedSession session_;
  std::optional<octet::TextStream> stream_;  // nothing after the end
  std::optional<octet::TextStream::iterator> at_;
};
