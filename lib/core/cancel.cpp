#include <octet/cancel.h>

#include "lib/core/cancel_flag.h"

namespace octet {

void retain(CancelFlag* flag) noexcept {
  retain_counted(flag);
}
void release(CancelFlag* flag) noexcept {
  release_counted(flag);
}

CancelToken CancelToken::make() {
  CancelToken token;
  token.flag_ = Handle<CancelFlag>(new CancelFlag);
  return token;
}

void CancelToken::cancel() const noexcept {
  if (flag_) flag_->set.store(true, std::memory_order_relaxed);
}

bool CancelToken::cancelled() const noexcept {
  return flag_ && flag_->set.load(std::memory_order_relaxed);
}

}  // namespace octet
