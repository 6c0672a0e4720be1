#pragma once
#include <octet/export.h>
#include <octet/handle.h>

namespace OCTET_EXPORT octet {

struct CancelFlag;
void retain(CancelFlag*) noexcept;
void release(CancelFlag*) noexcept;

/// Ends work from another thread. Copies share one flag, which stays set: make a token for each
/// piece of work. A token that was not made with make() never cancels anything.
class CancelToken {
 public:
  CancelToken() = default;
  static CancelToken make();

  /// From any thread. Without effect on a token that was not made.
  void cancel() const noexcept;
  bool cancelled() const noexcept;
  explicit operator bool() const noexcept { return static_cast<bool>(flag_); }

  const Handle<CancelFlag>& impl() const { return flag_; }

 private:
  Handle<CancelFlag> flag_;
};

}  // namespace octet
