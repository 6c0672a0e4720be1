#pragma once
// What the rest of the library knows of the CUDA backend: no CUDA type. A build without CUDA has
// lib/backends/no_cuda.cpp instead of this folder.
#include <octet/device.h>

#include <memory>
#include <vector>

#include "lib/model/backend.h"

namespace octet {

/// Why this process can run nothing on device `index`; empty if it can.
std::string why_no_cuda(int index);

/// The CUDA devices that can be used. Never fails.
std::vector<DeviceInfo> cuda_devices();

/// A backend on device `index`, with the weights in its memory: `weights` then points there, and
/// their source is no longer needed. exact: ModelOptions::exact.
/// Errors: Device saying why there is none (no driver, no device, no code for its architecture);
/// OutOfMemory naming what is needed and what is free; Unsupported for a float scheme or a shape
/// that the kernels do not have; Cancelled.
std::unique_ptr<Backend> make_cuda_backend(int index, const ModelConfig& config, int64_t max_rows,
                                           bool exact, Weights& weights, Progress progress);

}  // namespace octet
