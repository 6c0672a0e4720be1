#include "kernels/avx2/attention_s16.h"
#include "kernels/avxvnni/dot_product.h"

namespace octet::kernels {

[[gnu::flatten]] void attention_s16_6x16_avxvnni(const Attention& a) {
  attention_s16<dpwssd>(a);
}

}  // namespace octet::kernels
