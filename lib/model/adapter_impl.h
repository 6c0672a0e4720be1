#pragma once
#include <octet/adapter.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/counted.h"
#include "lib/core/huge_memory.h"
#include "lib/model/backend.h"

namespace octet {

/// What an adapter adds to the output of one linear [n, k]: y += up (scale * (down x)).
/// Both matrices are fp16. Each row of `down` and each column of `up` is divided by the power of
/// two that brings its largest value to [1, 2), which `scale` makes up for: no exponent is too
/// small for fp16, and only its 11 bits of fraction round. The rank is padded with zeros to a
/// multiple of kernels::project_rows, k and n to whole tiles of 16.
struct AdaptedLinear {
  int64_t rank = 0;
  const uint16_t* down = nullptr;  ///< [rank / project_rows][k / 16][project_rows][16]
  const uint16_t* up = nullptr;    ///< [n / 16][rank][16]
  std::vector<float> scale;        ///< [rank]
};

struct AdapterImpl : Counted {
  Model model;  ///< whose linears it is for
  std::string path;
  std::vector<std::optional<AdaptedLinear>> linears;  ///< by Matrix::linear
  HugeMemory factors;  ///< `down` of all linears in the order of a step, then `up`
  int64_t bytes = 0;
  std::unique_ptr<DeviceAdapter> on_device;  ///< Backend::prepare()

  explicit AdapterImpl(const Model& owner) : model(owner) {}
  /// Null if this linear is not changed.
  const AdaptedLinear* find(int64_t linear) const {
    if (linear < 0) return nullptr;
    const auto& found = linears[static_cast<size_t>(linear)];
    return found ? &*found : nullptr;
  }
};

}  // namespace octet
