#include "lib/text/tokenizer_flat.h"

#include "lib/text/unicode.h"

namespace octet {
namespace {

constexpr uint64_t kMagic = 0x4B4F545445544331;  // "1CTETTOK"
constexpr uint32_t kVersion = 1;

}  // namespace

FlatWriter::FlatWriter(FlatKind kind) {
  value(kMagic);
  value(kVersion);
  value(kind);
}

void FlatWriter::append(const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  bytes_.insert(bytes_.end(), bytes, bytes + size);
}

void FlatWriter::added_tokens(const std::vector<AddedToken>& tokens) {
  value<uint64_t>(tokens.size());
  for (const AddedToken& token : tokens) {
    text(token.text);
    value(token.id);
    value<uint8_t>(token.special);
    value<uint8_t>(token.normalized);
  }
}

FlatReader::FlatReader(std::span<const std::byte> bytes, std::string where)
    : rest_(bytes), where_(std::move(where)) {
  check(value<uint64_t>() == kMagic, "it does not begin as one");
  const auto version = value<uint32_t>();
  require(version == kVersion, ErrorCode::InvalidFile, where_, ": flat tokenizer of version ",
          version, ", this octet reads version ", kVersion);
  kind_ = value<FlatKind>();
}

const std::byte* FlatReader::take(uint64_t size) {
  require(size <= rest_.size(), ErrorCode::InvalidFile, where_, ": flat tokenizer: ", size,
          " bytes are needed, ", rest_.size(), " are left");
  const std::byte* data = rest_.data();
  rest_ = rest_.subspan(size);
  return data;
}

uint64_t FlatReader::element_count(size_t element_bytes) {
  const auto count = value<uint64_t>();
  require(count <= rest_.size() / element_bytes, ErrorCode::InvalidFile, where_,
          ": flat tokenizer: an array of ", count, " elements of ", element_bytes, " bytes, ",
          rest_.size(), " bytes are left");
  return count;
}

std::string FlatReader::text() {
  const uint64_t size = element_count(1);
  return {reinterpret_cast<const char*>(take(size)), size};
}

bool FlatReader::flag() {
  const auto value_read = value<uint8_t>();
  check(value_read <= 1, "a flag is neither 0 nor 1");
  return value_read == 1;
}

std::vector<AddedToken> FlatReader::added_tokens(int32_t size) {
  const uint64_t count = element_count(sizeof(uint64_t) + sizeof(int32_t) + 2);
  std::vector<AddedToken> tokens;
  for (uint64_t i = 0; i < count; ++i) {
    AddedToken token;
    token.text = text();
    token.id = value<int32_t>();
    token.special = flag();
    token.normalized = flag();
    check(!token.text.empty() && token.text.size() <= kMaxAddedTokenBytes,
          "an added token's text is empty or too long");
    check(token.id >= 0 && token.id < size, "an added token's id is outside the vocabulary");
    tokens.push_back(std::move(token));
  }
  return tokens;
}

void FlatReader::finish() const {
  check(rest_.empty(), "bytes are left over");
}

}  // namespace octet
