#pragma once
// A safetensors file's content, to be changed and written elsewhere.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/core/mapped_file.h"
#include "lib/io/safetensors.h"

namespace octet::testing {

struct Tensor {
  std::string dtype;
  std::vector<uint64_t> shape;
  std::vector<std::byte> data;
};
using Tensors = std::map<std::string, Tensor>;

inline Tensors read_tensors(const std::string& path) {
  Tensors tensors;
  const MappedFile file(path);
  for (const SafetensorsEntry& entry : parse_safetensors(file.bytes(), path).tensors)
    tensors[entry.name] = {entry.dtype, entry.shape, {entry.data.begin(), entry.data.end()}};
  return tensors;
}

inline void write_tensors(const std::string& path, const Tensors& tensors) {
  std::vector<SafetensorsWriter::Plan> plan;
  for (const auto& [name, tensor] : tensors) plan.push_back({name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(path, {}, plan, false);
  size_t index = 0;
  for (const auto& [name, tensor] : tensors) writer.write(index++, 0, tensor.data);
  writer.finish();
}

}  // namespace octet::testing
