#include "kernels/avx512vnni/attention_s8.h"

namespace octet::kernels {

[[gnu::flatten]] void attention_s8_6x64_avx512vnni(const Attention& a) {
  simd::attention<Arch, Cache>(a);
}

}  // namespace octet::kernels
