// A machine that octet has no instruction set of its own for.
#include "kernels/table.h"

namespace octet::kernels {

IsaMask detect_cpu() {
  return bit(Isa::ref);
}

}  // namespace octet::kernels
