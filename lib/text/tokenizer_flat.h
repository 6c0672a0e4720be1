#pragma once
// The flat form of a tokenizer: numbers and arrays one after another, little-endian, behind a
// header that tells the version and the kind. Bytes to be read are hostile.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "lib/core/error.h"
#include "lib/text/tokenizer_added.h"

namespace octet {

static_assert(std::endian::native == std::endian::little, "the flat form is little-endian");

enum class FlatKind : uint32_t { bpe = 1, sentencepiece = 2 };

class FlatWriter {
 public:
  explicit FlatWriter(FlatKind kind);

  template <class T>
  void value(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    append(&value, sizeof value);
  }
  /// The count, then the elements.
  template <class T>
  void array(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    value<uint64_t>(values.size());
    append(values.data(), values.size_bytes());
  }
  void text(std::string_view text) { array(std::span<const char>(text)); }
  void added_tokens(const std::vector<AddedToken>& tokens);

  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  void append(const void* data, size_t size);
  std::vector<std::byte> bytes_;
};

class FlatReader {
 public:
  /// Checks the header. Errors: InvalidFile.
  FlatReader(std::span<const std::byte> bytes, std::string where);

  FlatKind kind() const { return kind_; }
  const std::string& where() const { return where_; }

  template <class T>
  T value() {
    T out;
    std::memcpy(&out, take(sizeof out), sizeof out);
    return out;
  }
  /// Never longer than the bytes that are there.
  template <class T>
  std::vector<T> array() {
    const uint64_t count = element_count(sizeof(T));
    std::vector<T> out(count);
    if (count > 0) std::memcpy(out.data(), take(count * sizeof(T)), count * sizeof(T));
    return out;
  }
  std::string text();
  /// Each token has text of legal length, and an id in [0, size).
  std::vector<AddedToken> added_tokens(int32_t size);
  /// A flag is 0 or 1.
  bool flag();
  /// Errors: InvalidFile if bytes are left.
  void finish() const;

  void check(bool ok, std::string_view what) const {
    require(ok, ErrorCode::InvalidFile, where_, ": flat tokenizer: ", what);
  }

 private:
  uint64_t element_count(size_t element_bytes);
  const std::byte* take(uint64_t size);

  std::span<const std::byte> rest_;
  std::string where_;
  FlatKind kind_{};
};

}  // namespace octet
