#include <octet/constraint.h>

#include "lib/core/counted.h"

namespace octet {

struct ConstraintImpl : Counted {};

void retain(ConstraintImpl* impl) noexcept {
  retain_counted(impl);
}
void release(ConstraintImpl* impl) noexcept {
  release_counted(impl);
}

}  // namespace octet
