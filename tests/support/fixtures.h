#pragma once
// Reference data (tests/data) and what tests need around it.
#include <octet/model.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/core/mapped_file.h"
#include "lib/io/safetensors.h"

namespace octet::testing {

/// The path of a fixture or of a file in it.
std::string fixture(const std::string& name);

/// The path of a file in octet's source tree.
std::string source_file(const std::string& name);

/// The tensors of a safetensors file of expected values.
class Expected {
 public:
  explicit Expected(const std::string& path);
  bool contains(const std::string& name) const { return tensors_.find(name) != nullptr; }
  std::vector<std::string> names() const;
  std::vector<float> f32(const std::string& name) const;
  std::vector<int32_t> i32(const std::string& name) const;

 private:
  template <class T>
  std::vector<T> values(const std::string& name, const char* dtype) const;
  MappedFile file_;
  Safetensors tensors_;
};

/// A folder that is removed with the object.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path(const std::string& name = "") const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// A model of the fixtures in this scheme; two threads unless said otherwise.
Model open_model(const std::string& path, Scheme scheme, int threads = 2, int64_t max_rows = 256,
                 KvCacheType kv_cache = KvCacheType::f16);

/// The largest |a - b|; infinity if the sizes differ or a difference is NaN.
double max_difference(const std::vector<float>& a, const std::vector<float>& b);
/// The mean |a - b| of as many values.
double mean_difference(const std::vector<float>& a, const std::vector<float>& b);
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);
double max_magnitude(const std::vector<float>& values);

}  // namespace octet::testing
