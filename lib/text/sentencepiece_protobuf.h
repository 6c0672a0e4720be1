#pragma once
// The protobuf wire format, as far as sentencepiece models use it.
// Source: protobuf.dev/programming-guides/encoding.
#include <cstdint>
#include <string>
#include <string_view>

namespace octet {

/// Walks over the fields of one message. Errors, of every function: InvalidFile if the message is
/// cut off, malformed, or the field has another wire type than the one that is asked for.
class ProtobufReader {
 public:
  /// `where` names the file in errors; both outlive the reader.
  ProtobufReader(std::string_view message, const std::string& where)
      : rest_(message), where_(where) {}

  /// Goes to the next field; false at the end.
  bool next();
  uint32_t field() const { return field_; }

  // The current field's value.
  uint64_t varint() const;
  int32_t int32() const { return static_cast<int32_t>(varint()); }
  uint32_t fixed32() const;
  std::string_view bytes() const;

 private:
  uint64_t take_varint();
  std::string_view take(uint64_t size);
  void check_type(uint32_t type) const;

  std::string_view rest_;
  const std::string& where_;
  uint32_t field_ = 0, type_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

class ProtobufWriter {
 public:
  void varint(uint32_t field, uint64_t value);
  void fixed32(uint32_t field, uint32_t value);
  void bytes(uint32_t field, std::string_view value);
  std::string data() const& { return data_; }
  std::string data() && { return std::move(data_); }

 private:
  void raw_varint(uint64_t value);
  std::string data_;
};

}  // namespace octet
