#include "lib/io/gguf_writer.h"

#include <bit>
#include <type_traits>

namespace octet {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is little-endian");

constexpr uint64_t alignment = 32;  // the format's default
enum ValueType : uint32_t {
  u32_type = 4,
  i32_type = 5,
  f32_type = 6,
  bool_type = 7,
  text_type = 8,
  array_type = 9
};

template <class Number>
void append(std::string& out, Number value) {
  static_assert(std::is_arithmetic_v<Number>);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out += text;
}

uint64_t aligned(uint64_t size) {
  return (size + alignment - 1) / alignment * alignment;
}

}  // namespace

void GgufWriter::key(std::string_view name, uint32_t type) {
  append_text(keys_, name);
  append(keys_, type);
  ++key_count_;
}

void GgufWriter::array(std::string_view name, uint32_t type, size_t count) {
  key(name, array_type);
  append(keys_, type);
  append<uint64_t>(keys_, count);
}

void GgufWriter::text(std::string_view name, std::string_view value) {
  key(name, text_type);
  append_text(keys_, value);
}

void GgufWriter::u32(std::string_view name, int64_t value) {
  key(name, u32_type);
  append(keys_, static_cast<uint32_t>(value));
}

void GgufWriter::f32(std::string_view name, double value) {
  key(name, f32_type);
  append(keys_, static_cast<float>(value));
}

void GgufWriter::boolean(std::string_view name, bool value) {
  key(name, bool_type);
  append<uint8_t>(keys_, value);
}

void GgufWriter::texts(std::string_view name, const std::vector<std::string>& values) {
  array(name, text_type, values.size());
  for (const std::string& value : values) append_text(keys_, value);
}

void GgufWriter::i32s(std::string_view name, const std::vector<int32_t>& values) {
  array(name, i32_type, values.size());
  for (int32_t value : values) append(keys_, value);
}

void GgufWriter::f32s(std::string_view name, const std::vector<float>& values) {
  array(name, f32_type, values.size());
  for (float value : values) append(keys_, value);
}

size_t GgufWriter::tensor(std::string_view name, const std::vector<int64_t>& shape, uint32_t type,
                          int64_t bytes) {
  append_text(tensors_, name);
  append(tensors_, static_cast<uint32_t>(shape.size()));
  for (size_t i = shape.size(); i > 0; --i)  // fastest first
    append(tensors_, static_cast<uint64_t>(shape[i - 1]));
  append(tensors_, type);
  append(tensors_, data_bytes_);
  offsets_.push_back(data_bytes_);
  data_bytes_ = aligned(data_bytes_ + static_cast<uint64_t>(bytes));
  return offsets_.size() - 1;
}

void GgufWriter::start(const std::string& path) {
  std::string head = "GGUF";
  append<uint32_t>(head, 3);
  append<uint64_t>(head, offsets_.size());
  append(head, key_count_);
  head += keys_ + tensors_;
  head.resize(aligned(head.size()), '\0');
  data_begin_ = head.size();
  file_ = std::make_unique<AtomicFile>(path, data_begin_ + data_bytes_);
  file_->write(0, std::as_bytes(std::span(head)));
}

void GgufWriter::write(size_t index, uint64_t offset, std::span<const std::byte> bytes) {
  file_->write(data_begin_ + offsets_.at(index) + offset, bytes);
}

uint64_t GgufWriter::finish() {
  file_->commit();
  return data_begin_ + data_bytes_;
}

}  // namespace octet
