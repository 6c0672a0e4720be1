#include "lib/io/gguf.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "lib/core/checked.h"
#include "lib/core/error.h"

namespace octet {
namespace {

// The largest models have a few thousand tensors and a hundred keys.
constexpr uint64_t max_entries = 65'536;
constexpr uint64_t max_name_bytes = 65'535;  // the specification's limit for keys
constexpr uint32_t max_rank = 4;
constexpr uint64_t default_alignment = 32;

/// Bytes of a scalar; 0 for strings, arrays and unknown types.
uint64_t scalar_bytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::u8:
    case GgufValueType::i8:
    case GgufValueType::boolean:
      return 1;
    case GgufValueType::u16:
    case GgufValueType::i16:
      return 2;
    case GgufValueType::u32:
    case GgufValueType::i32:
    case GgufValueType::f32:
      return 4;
    case GgufValueType::u64:
    case GgufValueType::i64:
    case GgufValueType::f64:
      return 8;
    case GgufValueType::string:
    case GgufValueType::array:
      break;
  }
  return 0;
}

template <class T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// Takes checked pieces off the front of the file.
class Cursor {
 public:
  Cursor(std::span<const std::byte> file, const std::string& where) : file_(file), where_(where) {}

  std::span<const std::byte> take(uint64_t size, std::string_view what) {
    require(size <= file_.size() - position_, ErrorCode::InvalidFile, where_, ": ", what,
            " ends after the file: ", size, " bytes at byte ", position_, " of ", file_.size());
    const auto part = file_.subspan(position_, size);
    position_ += size;
    return part;
  }

  template <class T>
  T number(std::string_view what) {
    return load<T>(take(sizeof(T), what).data());
  }

  std::string name(std::string_view what) {
    const auto length = number<uint64_t>(what);
    require(length <= max_name_bytes, ErrorCode::InvalidFile, where_, ": ", what, " of ", length,
            " bytes, at most ", max_name_bytes, " are allowed");
    const auto bytes = take(length, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  uint64_t position() const { return position_; }
  std::span<const std::byte> since(uint64_t begin) const {
    return file_.subspan(begin, position_ - begin);
  }

 private:
  std::span<const std::byte> file_;
  const std::string& where_;
  uint64_t position_ = 0;
};

GgufValue take_elements(Cursor& cursor, GgufValueType type, uint64_t count, const std::string& key,
                        const std::string& where) {
  const uint64_t begin = cursor.position();
  if (type == GgufValueType::string) {
    for (uint64_t i = 0; i < count; ++i) cursor.take(cursor.number<uint64_t>(key), key);
  } else {
    const uint64_t size = scalar_bytes(type);
    require(size > 0, ErrorCode::InvalidFile, where, ": ", key, ": ",
            type == GgufValueType::array ? str("an array of arrays")
                                         : str("unknown value type ", static_cast<uint32_t>(type)));
    uint64_t bytes = 0;
    require(checked_mul(count, size, bytes), ErrorCode::InvalidFile, where, ": ", key,
            ": an array of ", count, " values");
    cursor.take(bytes, key);
  }
  return {type, false, count, cursor.since(begin)};
}

GgufValue take_value(Cursor& cursor, const std::string& key, const std::string& where) {
  const auto type = static_cast<GgufValueType>(cursor.number<uint32_t>(key));
  if (type != GgufValueType::array) return take_elements(cursor, type, 1, key, where);
  const auto element = static_cast<GgufValueType>(cursor.number<uint32_t>(key));
  const auto count = cursor.number<uint64_t>(key);
  GgufValue value = take_elements(cursor, element, count, key, where);
  value.is_array = true;
  return value;
}

/// A tensor's entry in the directory, and where its data lies in the data section.
struct Entry {
  GgufTensor tensor;
  uint64_t offset, bytes;
};

/// The extents, rows first (the file has the fastest first), and their size in bytes.
void take_shape(Cursor& cursor, Entry& entry, const std::string& label) {
  const auto rank = cursor.number<uint32_t>(label);
  require(rank >= 1 && rank <= max_rank, ErrorCode::InvalidFile, label, ": ", rank,
          " dimensions, 1 to ", max_rank, " are allowed");
  uint64_t extents[max_rank];
  for (uint32_t i = 0; i < rank; ++i) {
    extents[i] = cursor.number<uint64_t>(label);
    require(extents[i] > 0 && extents[i] <= INT64_MAX, ErrorCode::InvalidFile, label,
            ": a dimension of ", extents[i]);
    entry.tensor.shape.insert(entry.tensor.shape.begin(), static_cast<int64_t>(extents[i]));
  }
  const auto type_id = cursor.number<uint32_t>(label);
  entry.tensor.type = find_gguf_weight_type(type_id);
  require(entry.tensor.type != nullptr, ErrorCode::Unsupported, label, ": GGUF tensor type ",
          type_id, "; known are ", known_weight_types());
  const auto block = static_cast<uint64_t>(entry.tensor.type->block_values);
  require(extents[0] % block == 0, ErrorCode::InvalidFile, label, ": rows of ", extents[0],
          " values, ", entry.tensor.type->name, " comes in blocks of ", block);
  uint64_t count = 0;
  const bool fits = checked_product({extents, rank}, count) &&
                    checked_mul(count / block,
                                static_cast<uint64_t>(entry.tensor.type->block_bytes), entry.bytes);
  require(fits, ErrorCode::InvalidFile, label, ": the size of its shape overflows");
}

std::vector<Entry> take_directory(Cursor& cursor, uint64_t count, const std::string& where) {
  std::vector<Entry> entries;
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    Entry& entry = entries.emplace_back();
    entry.tensor.name = cursor.name("a tensor's name");
    const std::string label = where + ": tensor " + entry.tensor.name;
    require(names.insert(entry.tensor.name).second, ErrorCode::InvalidFile, label, " occurs twice");
    take_shape(cursor, entry, label);
    entry.offset = cursor.number<uint64_t>(label);
  }
  return entries;
}

/// Checks the tensors' places in the data section and gives each its bytes.
void locate(std::vector<Entry>& entries, std::span<const std::byte> data, uint64_t alignment,
            const std::string& where) {
  std::vector<Entry*> by_offset;
  for (Entry& entry : entries) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const Entry* a, const Entry* b) { return a->offset < b->offset; });
  uint64_t previous_end = 0;
  for (Entry* entry : by_offset) {
    const std::string label = where + ": tensor " + entry->tensor.name;
    require(entry->offset % alignment == 0, ErrorCode::InvalidFile, label, ": offset ",
            entry->offset, " is not a multiple of the alignment ", alignment);
    require(entry->offset >= previous_end, ErrorCode::InvalidFile, label, ": starts at byte ",
            entry->offset, ", inside the tensor that ends at ", previous_end);
    require(entry->offset <= data.size() && entry->bytes <= data.size() - entry->offset,
            ErrorCode::InvalidFile, label, ": ", entry->bytes, " bytes at ", entry->offset, " of ",
            data.size());
    previous_end = entry->offset + entry->bytes;
    entry->tensor.data = data.subspan(entry->offset, entry->bytes);
  }
}

template <class Number>
Number integer_as(const GgufValue& value, uint64_t index, std::string_view key,
                  const std::string& where) {
  const std::byte* at = value.bytes.data() + index * scalar_bytes(value.type);
  const auto checked = [&](auto number) {
    require(std::in_range<Number>(number), ErrorCode::InvalidFile, where, ": ", key, ": ", number,
            " is out of range");
    return static_cast<Number>(number);
  };
  switch (value.type) {
    case GgufValueType::u8:
      return checked(static_cast<unsigned>(load<uint8_t>(at)));
    case GgufValueType::i8:
      return checked(static_cast<int>(load<int8_t>(at)));
    case GgufValueType::u16:
      return checked(load<uint16_t>(at));
    case GgufValueType::i16:
      return checked(load<int16_t>(at));
    case GgufValueType::u32:
      return checked(load<uint32_t>(at));
    case GgufValueType::i32:
      return checked(load<int32_t>(at));
    case GgufValueType::u64:
      return checked(load<uint64_t>(at));
    case GgufValueType::i64:
      return checked(load<int64_t>(at));
    default:
      fail(ErrorCode::InvalidFile, where, ": ", key, ": an integer is expected");
  }
}

}  // namespace

Gguf::Gguf(std::span<const std::byte> file, const std::string& where) : where_(where) {
  Cursor cursor(file, where_);
  const auto magic = cursor.take(4, "the magic");
  require(std::memcmp(magic.data(), "GGUF", 4) == 0, ErrorCode::InvalidFile, where,
          ": not a GGUF file");
  version_ = cursor.number<uint32_t>("the version");
  require(version_ == 2 || version_ == 3, ErrorCode::Unsupported, where, ": GGUF version ",
          version_, "; known are 2 and 3 (little-endian)");
  const auto tensor_count = cursor.number<uint64_t>("the number of tensors");
  const auto key_count = cursor.number<uint64_t>("the number of keys");
  require(tensor_count <= max_entries && key_count <= max_entries, ErrorCode::InvalidFile, where,
          ": ", tensor_count, " tensors and ", key_count, " keys, at most ", max_entries,
          " each are read");
  for (uint64_t i = 0; i < key_count; ++i) {
    std::string key = cursor.name("a key");
    const GgufValue value = take_value(cursor, key, where);
    const auto [place, added] = metadata_.emplace(std::move(key), value);
    require(added, ErrorCode::InvalidFile, where, ": the key ", place->first, " occurs twice");
  }
  std::vector<Entry> entries = take_directory(cursor, tensor_count, where);

  const int64_t alignment = integer("general.alignment").value_or(default_alignment);
  require(alignment > 0 && (alignment & (alignment - 1)) == 0, ErrorCode::InvalidFile, where,
          ": general.alignment ", alignment, " is not a power of two");
  if (entries.empty()) return;  // a vocabulary alone: no data section
  const uint64_t over = cursor.position() % static_cast<uint64_t>(alignment);
  if (over > 0) cursor.take(static_cast<uint64_t>(alignment) - over, "the header's padding");
  locate(entries, file.subspan(cursor.position()), static_cast<uint64_t>(alignment), where);
  for (Entry& entry : entries) tensors_.push_back(std::move(entry.tensor));
}

const GgufValue* Gguf::find(std::string_view key, bool is_array) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return nullptr;
  require(found->second.is_array == is_array, ErrorCode::InvalidFile, where_, ": ", key, ": ",
          is_array ? "an array is expected" : "one value is expected");
  return &found->second;
}

std::optional<int64_t> Gguf::integer(std::string_view key) const {
  const GgufValue* value = find(key, false);
  if (!value) return {};
  return integer_as<int64_t>(*value, 0, key, where_);
}

std::optional<double> Gguf::number(std::string_view key) const {
  const GgufValue* value = find(key, false);
  if (!value) return {};
  if (value->type == GgufValueType::f32) return load<float>(value->bytes.data());
  if (value->type == GgufValueType::f64) return load<double>(value->bytes.data());
  return static_cast<double>(integer_as<int64_t>(*value, 0, key, where_));
}

std::optional<bool> Gguf::boolean(std::string_view key) const {
  const GgufValue* value = find(key, false);
  if (!value) return {};
  const auto number = load<uint8_t>(value->bytes.data());
  require(value->type == GgufValueType::boolean && number <= 1, ErrorCode::InvalidFile, where_,
          ": ", key, ": a truth value is expected");
  return number == 1;
}

std::optional<std::string> Gguf::text(std::string_view key) const {
  const GgufValue* value = find(key, false);
  if (!value) return {};
  require(value->type == GgufValueType::string, ErrorCode::InvalidFile, where_, ": ", key,
          ": a string is expected");
  return std::string(reinterpret_cast<const char*>(value->bytes.data()) + sizeof(uint64_t),
                     value->bytes.size() - sizeof(uint64_t));
}

std::vector<std::string> Gguf::texts(std::string_view key) const {
  const GgufValue* value = find(key, true);
  if (!value) return {};
  require(value->type == GgufValueType::string, ErrorCode::InvalidFile, where_, ": ", key,
          ": strings are expected");
  std::vector<std::string> texts;
  texts.reserve(value->count);
  for (const std::byte* at = value->bytes.data(); texts.size() < value->count;) {
    const auto length = load<uint64_t>(at);
    texts.emplace_back(reinterpret_cast<const char*>(at) + sizeof length, length);
    at += sizeof length + length;
  }
  return texts;
}

std::vector<int32_t> Gguf::integers(std::string_view key) const {
  const GgufValue* value = find(key, true);
  if (!value) return {};
  std::vector<int32_t> integers;
  integers.reserve(scalar_bytes(value->type) > 0 ? value->count : 0);
  for (uint64_t i = 0; i < value->count; ++i)
    integers.push_back(integer_as<int32_t>(*value, i, key, where_));
  return integers;
}

std::vector<float> Gguf::numbers(std::string_view key) const {
  const GgufValue* value = find(key, true);
  if (!value) return {};
  require(value->type == GgufValueType::f32, ErrorCode::InvalidFile, where_, ": ", key,
          ": fp32 values are expected");
  std::vector<float> numbers(value->count);
  if (!numbers.empty()) std::memcpy(numbers.data(), value->bytes.data(), value->bytes.size());
  return numbers;
}

}  // namespace octet
