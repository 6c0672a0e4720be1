#pragma once
#include <octet/cancel.h>

#include <atomic>

#include "lib/core/counted.h"

namespace octet {

struct CancelFlag : Counted {
  std::atomic<bool> set{false};
};

}  // namespace octet
