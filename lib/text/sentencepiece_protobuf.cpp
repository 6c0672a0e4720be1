#include "lib/text/sentencepiece_protobuf.h"

#include <bit>
#include <cstring>

#include "lib/core/error.h"

namespace octet {
namespace {

static_assert(std::endian::native == std::endian::little);

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

}  // namespace

bool ProtobufReader::next() {
  if (rest_.empty()) return false;
  const uint64_t tag = take_varint();
  require(tag >> 3 > 0 && tag >> 3 < 1u << 29, ErrorCode::InvalidFile, where_,
          ": protobuf field number ", tag >> 3);
  field_ = static_cast<uint32_t>(tag >> 3);
  type_ = tag & 7;
  switch (type_) {
    case kVarint:
      number_ = take_varint();
      return true;
    case kFixed64:
      bytes_ = take(8);
      return true;
    case kFixed32:
      bytes_ = take(4);
      return true;
    case kBytes:
      bytes_ = take(take_varint());
      return true;
    default:
      fail(ErrorCode::InvalidFile, where_, ": protobuf wire type ", type_, " of field ", field_);
  }
}

uint64_t ProtobufReader::take_varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<uint8_t>(take(1)[0]);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail(ErrorCode::InvalidFile, where_, ": a protobuf number of more than ten bytes");
}

std::string_view ProtobufReader::take(uint64_t size) {
  require(size <= rest_.size(), ErrorCode::InvalidFile, where_, ": protobuf: ", size,
          " bytes are needed, ", rest_.size(), " are left");
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

void ProtobufReader::check_type(uint32_t type) const {
  require(type_ == type, ErrorCode::InvalidFile, where_, ": protobuf field ", field_,
          " has the wire type ", type_, ", expected ", type);
}

uint64_t ProtobufReader::varint() const {
  check_type(kVarint);
  return number_;
}

uint32_t ProtobufReader::fixed32() const {
  check_type(kFixed32);
  uint32_t value;
  std::memcpy(&value, bytes_.data(), sizeof value);
  return value;
}

std::string_view ProtobufReader::bytes() const {
  check_type(kBytes);
  return bytes_;
}

void ProtobufWriter::raw_varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) data_ += static_cast<char>(value | 0x80);
  data_ += static_cast<char>(value);
}

void ProtobufWriter::varint(uint32_t field, uint64_t value) {
  raw_varint(field << 3 | kVarint);
  raw_varint(value);
}

void ProtobufWriter::fixed32(uint32_t field, uint32_t value) {
  raw_varint(field << 3 | kFixed32);
  data_.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void ProtobufWriter::bytes(uint32_t field, std::string_view value) {
  raw_varint(field << 3 | kBytes);
  raw_varint(value.size());
  data_ += value;
}

}  // namespace octet
