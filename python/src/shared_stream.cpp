#include "shared_session.h"

std::optional<std::string> SharedStream::next() {
  return session_.use([&](octet::Session&) -> std::optional<std::string> {
    if (!stream_) return std::nullopt;
    try {
      if (at_)
        ++*at_;
      else
        at_.emplace(stream_->begin());
    } catch (...) {
      finish();
      throw;
    }
    if (*at_ == stream_->end()) {
      finish();
      return std::nullopt;
    }
    reasoning_ = stream_->reasoning();
    return std::string(**at_);
  });
}

void SharedStream::close() {
  session_.use([&](octet::Session&) {
    if (!stream_) return;
    stream_->stop();
    finish();
  });
}

std::string SharedStream::rest() {
  std::string text;
  while (const std::optional<std::string> piece = next()) {
    if (!reasoning_) text += *piece;
    if (PyErr_CheckSignals() == 0) continue;
    close();
    throw nanobind::python_error();
  }
  return text;
}

void SharedStream::finish() {
  at_.reset();
  stream_.reset();
}
