#pragma once
#include <octet/adapter.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/aligned.h"
#include "lib/core/counted.h"
#include "lib/model/backend.h"

namespace octet {

/// What an adapter adds to the output of one linear [n, k]: y += up (scale * (down x)).
/// Both matrices are fp16. Each row of `down` and each column of `up` is divided by the power of
/// two that brings its largest value to [1, 2), which `scale` makes up for: no exponent is too
/// small for fp16, and only its 11 bits of fraction round.
struct AdaptedLinear {
  int64_t rank = 0;
  AlignedBuffer<uint16_t> down;  ///< [rank][k]
  AlignedBuffer<uint16_t> up;    ///< [n / 16][rank][16], the last tile padded with zeros
  std::vector<float> scale;      ///< [rank]
};

struct AdapterImpl : Counted {
  Model model;  ///< whose linears it is for
  std::string path;
  std::vector<std::optional<AdaptedLinear>> linears;  ///< by Matrix::linear
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
