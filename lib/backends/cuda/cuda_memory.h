#pragma once
// Memory of a device and of the host, and the errors of CUDA's runtime as octet's.
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace octet::cuda {

/// Why a call failed, for a reader who wants to know what to do.
std::string explain(cudaError_t status);

/// Errors: Device, naming the call.
void check(cudaError_t status, const char* call);

/// Makes a device the calling thread's for as long as the object lives.
class OnDevice {
 public:
  explicit OnDevice(int index);
  ~OnDevice() { cudaSetDevice(before_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
};

/// Memory that frees itself.
template <cudaError_t (*free)(void*)>
class OwnedMemory {
 public:
  OwnedMemory() = default;
  ~OwnedMemory() { free(data_); }
  OwnedMemory(OwnedMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  OwnedMemory& operator=(OwnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 protected:
  void* data_ = nullptr;
};

/// Memory of the current device, uninitialized.
class DeviceMemory : public OwnedMemory<cudaFree> {
 public:
  DeviceMemory() = default;
  /// what: for the message. Errors: OutOfMemory naming what is asked for and what is free.
  DeviceMemory(int64_t bytes, const char* what);
};

/// Page-locked memory of the host, which devices read and write directly.
class PinnedMemory : public OwnedMemory<cudaFreeHost> {
 public:
  PinnedMemory() = default;
  /// Errors: OutOfMemory.
  explicit PinnedMemory(int64_t bytes);
};

}  // namespace octet::cuda
