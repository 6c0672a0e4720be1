// Source: https://github.com/huggingface/safetensors, "Format" and its reference implementation's
// validation rules.
#include "lib/io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_set>

#include "lib/core/checked.h"
#include "lib/core/error.h"
#include "lib/io/json.h"

namespace octet {
namespace {

constexpr uint64_t max_header_bytes = 100'000'000;  // the reference's own limit
constexpr size_t max_rank = 64;  // numpy's; keeps a list of ones from filling memory

struct HeaderEntry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;
};

/// Reads the header without building a JSON document: memory stays a small multiple of the text.
class HeaderReader : public JsonReader {
 public:
  using JsonReader::JsonReader;

  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a truth value"); }
  bool number_integer(number_integer_t value) override { unexpected(str(value)); }
  bool number_float(number_float_t, const string_t& text) override { unexpected(text); }

  bool number_unsigned(number_unsigned_t value) override {
    if (level_ != Level::array) unexpected(str(value));
    std::vector<uint64_t>& list = key_ == "shape" ? entries.back().shape : entries.back().offsets;
    require(list.size() < max_rank, ErrorCode::InvalidFile, where_, ": tensor ",
            entries.back().name, ": ", key_, " of more than ", max_rank, " numbers");
    list.push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (level_ == Level::metadata) {
      const bool added = metadata.try_emplace(key_, std::move(value)).second;
      require(added, ErrorCode::InvalidFile, where_, ": the metadata key \"", key_,
              "\" occurs twice");
    } else if (level_ == Level::entry && key_ == "dtype") {
      entries.back().dtype = std::move(value);
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(size_t) override {
    if (level_ == Level::outside) {
      level_ = Level::top;
    } else if (level_ != Level::top) {
      unexpected("an object");
    } else if (key_ == "__metadata__") {
      require(!has_metadata_, ErrorCode::InvalidFile, where_, ": __metadata__ occurs twice");
      has_metadata_ = true;
      level_ = Level::metadata;
    } else {
      entries.push_back({key_, {}, {}, {}});
      seen_ = {};
      level_ = Level::entry;
    }
    return true;
  }

  bool key(string_t& name) override {
    key_ = std::move(name);
    if (level_ != Level::entry) return true;
    static constexpr std::array<std::string_view, 3> known = {"dtype", "shape", "data_offsets"};
    const size_t i = std::find(known.begin(), known.end(), key_) - known.begin();
    require(i < known.size(), ErrorCode::InvalidFile, where_, ": tensor ", entries.back().name,
            ": unknown key \"", key_, "\"");
    require(!seen_[i], ErrorCode::InvalidFile, where_, ": tensor ", entries.back().name, ": ", key_,
            " occurs twice");
    seen_[i] = true;
    return true;
  }

  bool end_object() override {
    if (level_ == Level::entry) {
      require(seen_[0] && seen_[1] && seen_[2], ErrorCode::InvalidFile, where_, ": tensor ",
              entries.back().name, ": dtype, shape or data_offsets is missing");
    }
    level_ = level_ == Level::top ? Level::outside : Level::top;
    return true;
  }

  bool start_array(size_t) override {
    if (level_ != Level::entry || key_ == "dtype") unexpected("a list");
    level_ = Level::array;
    return true;
  }

  bool end_array() override {
    level_ = Level::entry;
    return true;
  }

 private:
  enum class Level { outside, top, metadata, entry, array };

  [[noreturn]] void unexpected(const std::string& what) const {
    fail(ErrorCode::InvalidFile, where_, ": header: ", what, " is not allowed ",
         level_ == Level::outside ? "here; the header is an object"
                                  : "as value of \"" + key_ + "\"");
  }

  Level level_ = Level::outside;
  std::string key_;
  bool has_metadata_ = false;
  std::array<bool, 3> seen_{};
};

std::string_view header_text(std::span<const std::byte> file, const std::string& where) {
  uint64_t length = 0;
  require(file.size() >= sizeof length, ErrorCode::InvalidFile, where, ": ", file.size(),
          " bytes are too few for a safetensors file");
  std::memcpy(&length, file.data(), sizeof length);
  require(length <= max_header_bytes, ErrorCode::InvalidFile, where, ": header of ", length,
          " bytes, at most ", max_header_bytes, " are allowed");
  require(length <= file.size() - sizeof length, ErrorCode::InvalidFile, where, ": header of ",
          length, " bytes in a file of ", file.size());
  return {reinterpret_cast<const char*>(file.data()) + sizeof length, static_cast<size_t>(length)};
}

/// Checks one entry against the data that is left: it starts where the previous one ended.
void check_entry(const HeaderEntry& entry, uint64_t previous_end, uint64_t data_bytes,
                 const std::string& where) {
  const std::string tensor = where + ": tensor " + entry.name;
  require(entry.offsets.size() == 2, ErrorCode::InvalidFile, tensor, ": ", entry.offsets.size(),
          " data_offsets, expected 2");
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  require(begin == previous_end, ErrorCode::InvalidFile, tensor, ": starts at byte ", begin,
          ", the previous one ends at ", previous_end);
  require(begin <= end && end <= data_bytes, ErrorCode::InvalidFile, tensor, ": bytes ", begin,
          " to ", end, " of ", data_bytes);
  const uint64_t element = safetensors_element_bytes(entry.dtype);
  require(element > 0, ErrorCode::InvalidFile, tensor, ": unknown dtype \"", entry.dtype, "\"");
  uint64_t count = 0, bytes = 0;
  const bool fits = checked_product(entry.shape, count) && checked_mul(count, element, bytes);
  require(fits && bytes == end - begin, ErrorCode::InvalidFile, tensor, ": ", end - begin,
          " bytes of data, the shape asks for ", fits ? str(bytes) : std::string("more than 2^64"));
}

void check_names(const std::vector<HeaderEntry>& entries, const std::string& where) {
  std::unordered_set<std::string_view> names;
  for (const HeaderEntry& entry : entries) {
    require(names.insert(entry.name).second, ErrorCode::InvalidFile, where, ": tensor ", entry.name,
            " occurs twice");
  }
}

}  // namespace

uint64_t safetensors_element_bytes(std::string_view dtype) {
  // The 4 and 6 bit types are left out: no element of theirs is a whole number of bytes.
  static const std::map<std::string_view, uint64_t> sizes = {
      {"BOOL", 1},    {"U8", 1},          {"I8", 1},          {"F8_E5M2", 1}, {"F8_E4M3", 1},
      {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1}, {"I16", 2},     {"U16", 2},
      {"F16", 2},     {"BF16", 2},        {"I32", 4},         {"U32", 4},     {"F32", 4},
      {"I64", 8},     {"U64", 8},         {"F64", 8},         {"C64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

const SafetensorsEntry* Safetensors::find(std::string_view name) const {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(),
                   [&](const SafetensorsEntry& entry) { return entry.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

Safetensors parse_safetensors(std::span<const std::byte> file, const std::string& where) {
  const std::string_view text = header_text(file, where);
  HeaderReader header(where);
  header.read(text);
  check_names(header.entries, where);
  std::stable_sort(
      header.entries.begin(), header.entries.end(),
      [](const HeaderEntry& a, const HeaderEntry& b) { return a.offsets < b.offsets; });

  const auto data = file.subspan(sizeof(uint64_t) + text.size());
  Safetensors result;
  result.metadata = std::move(header.metadata);
  uint64_t end = 0;
  for (HeaderEntry& entry : header.entries) {
    check_entry(entry, end, data.size(), where);
    end = entry.offsets[1];
    result.tensors.push_back({std::move(entry.name), std::move(entry.dtype), std::move(entry.shape),
                              data.subspan(entry.offsets[0], end - entry.offsets[0])});
  }
  require(end == data.size(), ErrorCode::InvalidFile, where, ": ", data.size() - end,
          " bytes after the last tensor");
  return result;
}

}  // namespace octet
