#pragma once
// GGUF files byte by byte, right and wrong ones.
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace octet::testing {

/// The bytes of a number, little-endian as GGUF wants them.
template <class Number>
std::string raw(Number value) {
  static_assert(std::is_arithmetic_v<Number>);
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

inline std::string gguf_string(const std::string& text) {
  return raw<uint64_t>(text.size()) + text;
}

class GgufBuilder {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;  ///< of the data; a key is only written by key()

  /// A value of a type (its number in GGUF) and the bytes of it.
  GgufBuilder& key(const std::string& name, uint32_t type, const std::string& bytes) {
    keys_ += gguf_string(name) + raw(type) + bytes;
    ++key_count_;
    return *this;
  }
  GgufBuilder& u32(const std::string& name, uint32_t value) { return key(name, 4, raw(value)); }
  GgufBuilder& f32(const std::string& name, float value) { return key(name, 6, raw(value)); }
  GgufBuilder& text(const std::string& name, const std::string& value) {
    return key(name, 8, gguf_string(value));
  }
  GgufBuilder& array(const std::string& name, uint32_t type, uint64_t count,
                     const std::string& bytes) {
    return key(name, 9, raw(type) + raw(count) + bytes);
  }
  GgufBuilder& texts(const std::string& name, const std::vector<std::string>& values) {
    std::string bytes;
    for (const std::string& value : values) bytes += gguf_string(value);
    return array(name, 8, values.size(), bytes);
  }

  /// Extents fastest first, as the file has them; the data comes after that of the tensors before.
  GgufBuilder& tensor(const std::string& name, const std::vector<uint64_t>& extents, uint32_t type,
                      const std::string& data) {
    return tensor_at(name, extents, type, data_.size(), data);
  }
  GgufBuilder& tensor_at(const std::string& name, const std::vector<uint64_t>& extents,
                         uint32_t type, uint64_t offset, const std::string& data) {
    tensors_ += gguf_string(name) + raw(static_cast<uint32_t>(extents.size()));
    for (uint64_t extent : extents) tensors_ += raw(extent);
    tensors_ += raw(type) + raw(offset);
    ++tensor_count_;
    data_ += data;
    pad(data_);
    return *this;
  }

  std::string bytes() const {
    std::string file = "GGUF" + raw(version) + raw(tensor_count_) + raw(key_count_);
    file += keys_ + tensors_;
    pad(file);
    return file + data_;
  }

 private:
  void pad(std::string& bytes) const {
    while (bytes.size() % alignment != 0) bytes += '\0';
  }

  std::string keys_, tensors_, data_;
  uint64_t key_count_ = 0, tensor_count_ = 0;
};

}  // namespace octet::testing
