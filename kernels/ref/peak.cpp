// What one thread can do with the instructions of the reference kernels: kernels/types.h.
#include "kernels/table.h"

namespace octet::kernels {
namespace {

constexpr int unroll = 16;

/// Independent chains of value = value * factor + summand, so that latency does not count. The
/// barrier makes every iteration a new one for the compiler.
template <class T>
uint64_t multiply_add(uint64_t iterations, T factor, T summand) {
  T values[unroll] = {};
  for (uint64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+m"(factor), "+m"(summand));
    for (T& value : values) value = value * factor + summand;
  }
  for (T& value : values) asm volatile("" : : "m"(value));
  return iterations * unroll * 2;
}

}  // namespace

uint64_t peak_int8_ref(uint64_t iterations) {
  return multiply_add<uint32_t>(iterations, 3, 1);
}

uint64_t peak_fp32_ref(uint64_t iterations) {
  return multiply_add<float>(iterations, 0.5f, 1.0f);
}

uint64_t read_sum_ref(const void* data, uint64_t bytes) {
  const auto* words = static_cast<const uint64_t*>(data);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < bytes / sizeof(uint64_t); ++i) sum += words[i];
  return sum;
}

}  // namespace octet::kernels
