#pragma once
// Memory of a device and of the host, and the errors of CUDA's runtime as octet's.
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

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

/// Memory of the current device, uninitialized.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  /// what: for the message. Errors: OutOfMemory naming what is asked for and what is free.
  DeviceMemory(int64_t bytes, const char* what);
  ~DeviceMemory() { cudaFree(data_); }
  DeviceMemory(DeviceMemory&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

/// Page-locked memory of the host, which devices read and write directly.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  /// Errors: OutOfMemory.
  explicit PinnedMemory(int64_t bytes);
  ~PinnedMemory() { cudaFreeHost(data_); }
  PinnedMemory(PinnedMemory&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

}  // namespace octet::cuda
