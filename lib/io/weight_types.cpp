#include "lib/io/weight_types.h"

#include <algorithm>
#include <cstring>

#include "lib/io/float_formats.h"
#include "lib/io/gguf_dequantize.h"

namespace octet {
namespace {

void f32_to_f32(const std::byte* data, int64_t count, float* out) {
  std::memcpy(out, data, static_cast<size_t>(count) * sizeof(float));
}

template <float (*convert)(uint16_t)>
void convert_16_bit(const std::byte* data, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, data + 2 * i, sizeof bits);
    out[i] = convert(bits);
  }
}

constexpr WeightType types[] = {
    {"F32", 0, 1, 4, f32_to_f32},
    {"F16", 1, 1, 2, convert_16_bit<f16_to_f32>},
    {"BF16", 30, 1, 2, convert_16_bit<bf16_to_f32>},
    {"Q8_0", 8, 32, 34, dequantize_q8_0},
    {"Q4_0", 2, 32, 18, dequantize_q4_0},
    {"Q4_1", 3, 32, 20, dequantize_q4_1},
    {"Q5_0", 6, 32, 22, dequantize_q5_0},
    {"Q5_1", 7, 32, 24, dequantize_q5_1},
    {"Q2_K", 10, 256, 84, dequantize_q2_k},
    {"Q3_K", 11, 256, 110, dequantize_q3_k},
    {"Q4_K", 12, 256, 144, dequantize_q4_k},
    {"Q5_K", 13, 256, 176, dequantize_q5_k},
    {"Q6_K", 14, 256, 210, dequantize_q6_k},
};

template <class Matches>
const WeightType* find_type(Matches matches) {
  const auto* found = std::find_if(std::begin(types), std::end(types), matches);
  return found == std::end(types) ? nullptr : found;
}

}  // namespace

const WeightType* find_weight_type(std::string_view name) {
  return find_type([&](const WeightType& type) { return type.name == name; });
}

const WeightType* find_gguf_weight_type(uint32_t gguf_id) {
  return find_type([&](const WeightType& type) { return type.gguf_id == gguf_id; });
}

std::string known_weight_types() {
  std::string names;
  for (const WeightType& type : types) {
    if (!names.empty()) names += ", ";
    names += type.name;
  }
  return names;
}

}  // namespace octet
