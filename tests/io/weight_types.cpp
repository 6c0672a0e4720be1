#include "lib/io/weight_types.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/fixtures.h"

using namespace octet;

namespace {

/// The value of a 16-bit float by its definition; exact in double.
double value_of(uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  double magnitude = 0;
  if (exponent == (1 << exponent_bits) - 1) {
    magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  } else {
    magnitude = std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
  }
  return bits >> 15 ? -magnitude : magnitude;
}

void check_all_16_bit_values(const char* name, int exponent_bits, int mantissa_bits) {
  CAPTURE(name);
  const WeightType* type = find_weight_type(name);
  REQUIRE(type != nullptr);
  std::vector<uint16_t> bits(1 << 16);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  std::vector<float> values(bits.size());
  type->to_f32(reinterpret_cast<const std::byte*>(bits.data()), 1 << 16, values.data());
  size_t wrong = 0;
  for (size_t i = 0; i < bits.size(); ++i) {
    const double expected = value_of(bits[i], exponent_bits, mantissa_bits);
    const bool same = std::isnan(expected) ? std::isnan(values[i]) : values[i] == expected;
    if (!same || std::signbit(values[i]) != (i >= 1 << 15)) ++wrong;
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("every fp16 and every bf16 number becomes the fp32 number of its value") {
  check_all_16_bit_values("F16", 5, 10);
  check_all_16_bit_values("BF16", 8, 7);
}

TEST_CASE("random blocks of every quantized type become what gguf-py makes of them") {
  const MappedFile file(testing::fixture("dequantize/expected.safetensors"));
  const Safetensors tensors = parse_safetensors(file.bytes(), file.path());
  const testing::Expected expected(file.path());
  int types = 0;
  for (const char* name :
       {"Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}) {
    CAPTURE(name);
    const WeightType* type = find_weight_type(name);
    const SafetensorsEntry* blocks = tensors.find(std::string(name) + ".blocks");
    REQUIRE((type != nullptr && blocks != nullptr));
    REQUIRE(blocks->shape[1] == static_cast<uint64_t>(type->block_bytes));
    const std::vector<float> values = expected.f32(std::string(name) + ".values");
    REQUIRE(values.size() == blocks->shape[0] * static_cast<uint64_t>(type->block_values));
    // One byte off any alignment, as rows of odd length are in a file.
    std::vector<std::byte> unaligned(blocks->data.size() + 1);
    std::copy(blocks->data.begin(), blocks->data.end(), unaligned.begin() + 1);
    std::vector<float> out(values.size());
    type->to_f32(unaligned.data() + 1, static_cast<int64_t>(out.size()), out.data());
    CHECK(out == values);
    ++types;
  }
  CHECK(types == 10);
}

TEST_CASE("a type is found by name and by GGUF's number, and unknown ones are not") {
  for (const char* name : {"F32", "F16", "BF16", "Q8_0", "Q2_K", "Q6_K"}) {
    CAPTURE(name);
    const WeightType* type = find_weight_type(name);
    REQUIRE(type != nullptr);
    CHECK(find_gguf_weight_type(type->gguf_id) == type);
    CHECK(known_weight_types().find(name) != std::string::npos);
  }
  // ggml.h: 4 and 5 were removed, 9 is Q8_1, 15 Q8_K, 16 to 23 the IQ types, 24 to 28 integers,
  // F64.
  for (uint32_t id : {4u, 5u, 9u, 15u, 16u, 23u, 24u, 28u, 29u, 31u, 39u, 200u, UINT32_MAX})
    CHECK(find_gguf_weight_type(id) == nullptr);
  CHECK(find_weight_type("I32") == nullptr);
  CHECK(find_weight_type("") == nullptr);
}
