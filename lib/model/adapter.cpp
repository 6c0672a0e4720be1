#include "lib/model/adapter_impl.h"

namespace octet {

void retain(AdapterImpl* impl) noexcept {
  retain_counted(impl);
}
void release(AdapterImpl* impl) noexcept {
  release_counted(impl);
}

const Model& Adapter::model() const {
  return impl_->model;
}
const std::string& Adapter::path() const {
  return impl_->path;
}
int64_t Adapter::bytes() const {
  return impl_->bytes;
}

}  // namespace octet
