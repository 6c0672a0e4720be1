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

  /// work(Session&), when no other thread is in the session. The caller does not hold the
  /// interpreter's lock, for which another thread in the session may wait.
  template <class Work>
  auto take_turn(const Work& work) const {
    std::lock_guard turn(state_->mutex);
    return work(state_->session);
  }

  /// The same, from a caller that does.
  template <class Work>
  auto use(const Work& work) const {
    nanobind::gil_scoped_release released;
    return take_turn(work);
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
  /// start(Session&) gives the octet::TextStream. Without the interpreter's lock.
  template <class Start>
  SharedStream(SharedSession session, const Start& start) : session_(std::move(session)) {
    session_.take_turn([&](octet::Session& target) { stream_.emplace(start(target)); });
  }
  SharedStream(const SharedStream&) = delete;
  SharedStream& operator=(const SharedStream&) = delete;
  ~SharedStream() { close(); }

  /// The next piece; nothing at the end.
  std::optional<std::string> next();
  /// Whether the last piece is reasoning.
  bool reasoning() const { return reasoning_; }
  /// Ends the answer here.
  void close();
  /// The pieces that are left, joined, without reasoning. What a signal handler raises ends the
  /// answer, and comes out.
  std::string rest();

 private:
  void finish();

  SharedSession session_;
  std::optional<octet::TextStream> stream_;  // nothing after the end
  std::optional<octet::TextStream::iterator> at_;
  bool reasoning_ = false;
};
