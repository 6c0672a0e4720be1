#include "support/fixtures.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace octet::testing {

std::string fixture(const std::string& name) {
  return std::string(OCTET_TEST_DATA "/") + name;
}

std::string source_file(const std::string& name) {
  return std::string(OCTET_SOURCE "/") + name;
}

Expected::Expected(const std::string& path)
    : file_(path), tensors_(parse_safetensors(file_.bytes(), path)) {}

std::vector<std::string> Expected::names() const {
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : tensors_.tensors) names.push_back(entry.name);
  return names;
}

template <class T>
std::vector<T> Expected::values(const std::string& name, const char* dtype) const {
  const SafetensorsEntry* entry = tensors_.find(name);
  REQUIRE_MESSAGE(entry, file_.path(), " has no ", name);
  REQUIRE(entry->dtype == dtype);
  std::vector<T> values(entry->data.size() / sizeof(T));
  std::memcpy(values.data(), entry->data.data(), entry->data.size());
  return values;
}

std::vector<float> Expected::f32(const std::string& name) const {
  return values<float>(name, "F32");
}
std::vector<int32_t> Expected::i32(const std::string& name) const {
  return values<int32_t>(name, "I32");
}

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "octet-test-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Model open_model(const std::string& path, Scheme scheme, int threads, int64_t max_rows,
                 KvCacheType kv_cache) {
  ModelOptions options;
  options.device = Device::cpu();
  options.scheme = scheme;
  options.threads = threads;
  options.max_rows = max_rows;
  options.kv_cache = kv_cache;
  return Model::open(path, options);
}

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

double mean_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::fabs(double{a[i]} - b[i]);
  return sum / static_cast<double>(a.size());
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double max_magnitude(const std::vector<float>& values) {
  double largest = 0;
  for (float value : values) largest = std::max(largest, std::abs(static_cast<double>(value)));
  return largest;
}

}  // namespace octet::testing
