#include "support/w8a8_fixture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "lib/io/float_formats.h"
#include "support/fixtures.h"

namespace octet::testing {
namespace {

struct Int8Matrix {
  std::vector<int8_t> values;
  std::vector<uint16_t> scales;  // bf16
};

/// Round to nearest even; the value is finite.
uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// s = bf16(absmax / 127.5), q = clamp(rint(w / s), -128, 127), row by row.
Int8Matrix quantize(const SafetensorsEntry& weight) {
  const size_t rows = weight.shape[0], columns = weight.shape[1];
  std::vector<uint16_t> bits(rows * columns);
  std::memcpy(bits.data(), weight.data.data(), weight.data.size());
  Int8Matrix result;
  for (size_t row = 0; row < rows; ++row) {
    const auto* const begin = bits.data() + row * columns;
    float largest = 0;
    for (size_t i = 0; i < columns; ++i)
      largest = std::max(largest, std::abs(bf16_to_f32(begin[i])));
    result.scales.push_back(f32_to_bf16(largest / 127.5f));
    const float scale = bf16_to_f32(result.scales.back());
    for (size_t i = 0; i < columns; ++i)
      result.values.push_back(static_cast<int8_t>(
          std::clamp(std::nearbyint(bf16_to_f32(begin[i]) / scale), -128.0f, 127.0f)));
  }
  return result;
}

void write_weights(const std::string& path) {
  const std::string source = fixture("tiny-qwen2/model.safetensors");
  const MappedFile file(source);
  const Safetensors original = parse_safetensors(file.bytes(), source);
  std::vector<SafetensorsWriter::Plan> plan;
  const auto is_linear = [](const SafetensorsEntry& entry) {
    return entry.name.ends_with("_proj.weight");
  };
  for (const SafetensorsEntry& entry : original.tensors) {
    plan.push_back({entry.name, is_linear(entry) ? "I8" : entry.dtype, entry.shape});
    if (is_linear(entry)) plan.push_back({entry.name + "_scale", "BF16", {entry.shape[0], 1}});
  }
  SafetensorsWriter writer(path, {}, plan, false);
  size_t index = 0;
  for (const SafetensorsEntry& entry : original.tensors) {
    if (!is_linear(entry)) {
      writer.write(index++, 0, entry.data);
      continue;
    }
    const Int8Matrix matrix = quantize(entry);
    writer.write(index++, 0, std::as_bytes(std::span(matrix.values)));
    writer.write(index++, 0, std::as_bytes(std::span(matrix.scales)));
  }
  writer.finish();
}

}  // namespace

std::string w8a8_fixture() {
  const std::string folder = fixture("tiny-qwen2-w8a8"), weights = folder + "/model.safetensors";
  // Written under another name and renamed, so that tests in other processes see all or nothing.
  if (!std::filesystem::exists(weights)) write_weights(weights);
  return folder;
}

}  // namespace octet::testing
