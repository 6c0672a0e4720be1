#include "lib/model/octet_file.h"

#include <cstdint>
#include <filesystem>

#include "lib/core/error.h"
#include "lib/io/checkpoint.h"
#include "lib/text/tokenizer_impl.h"

namespace octet {
namespace {

constexpr const char* format_key = "octet.format";
/// 2: inputs of linears are to be prepared in ways that format 1 does not know: rotated, or split
/// into two planes. 3: matrices may be of other schemes than the model's, and the inputs of q, k,
/// v, gate, up and head rotated.
constexpr const char* plain_format = "1";
constexpr const char* prepared_format = "2";
constexpr const char* newest_format = "3";
constexpr const char* schemes_key = "octet.schemes";
constexpr const char* rotation_key = "octet.rotation";
constexpr const char* two_planes_key = "octet.two_planes";

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (uint64_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

OctetHeader read_header(const Safetensors& file, const std::string& path) {
  const auto value = [&](const char* key, bool needed) -> std::string {
    const auto found = file.metadata.find(key);
    require(found != file.metadata.end() || !needed, ErrorCode::InvalidFile, path,
            ": no metadata key '", key, "'");
    return found == file.metadata.end() ? std::string() : found->second;
  };
  const std::string version = value(format_key, true);
  require(version == plain_format || version == prepared_format || version == newest_format,
          ErrorCode::Unsupported, path, ": octet file format version '", version,
          "', this octet reads versions ", plain_format, " to ", newest_format,
          "; a newer octet wrote it");
  OctetHeader header;
  header.config = config_from_json(value("octet.config", true), path);
  check_config(header.config, path);
  header.schemes = stored_scheme(value("octet.scheme", true), path);
  if (const std::string others = value(schemes_key, false); !others.empty())
    header.schemes = schemes_from_json(header.schemes.model, others, header.config, path);
  if (const std::string rotation = value(rotation_key, false); !rotation.empty())
    header.rotation = rotation_from_json(rotation, header.config, path);
  if (const std::string linears = value(two_planes_key, false); !linears.empty())
    header.two_planes = two_planes_from_json(linears, header.config, path);
  header.chat_template = value("octet.chat_template", false);
  header.bos_token = value("octet.bos_token", false);
  header.eos_token = value("octet.eos_token", false);
  return header;
}

bool starts_like_safetensors(std::span<const std::byte> bytes) {
  // 8 bytes of header length, then the header, an object.
  return bytes.size() > 8 && static_cast<char>(bytes[8]) == '{';
}

}  // namespace

OctetFile::OctetFile(MappedFile file, Safetensors tensors)
    : file_(std::move(file)),
      tensors_(std::move(tensors)),
      header_(read_header(tensors_, file_.path())) {
  // A tied embedding is the head too, which is read whole.
  const SafetensorsEntry* embedding = tensors_.find("model.embed_tokens.weight");
  const bool single_rows = embedding && !header_.config.tied_head;
  file_.prefer_huge_pages(single_rows ? embedding->data : std::span<const std::byte>());
}

std::unique_ptr<OctetFile> OctetFile::open(const std::string& path) {
  std::error_code ignored;  // a path that cannot be looked at: opening it says why
  if (std::filesystem::is_directory(path, ignored)) return nullptr;
  MappedFile file(path);
  if (!starts_like_safetensors(file.bytes())) return nullptr;
  Safetensors tensors = parse_safetensors(file.bytes(), path);
  if (tensors.metadata.count(format_key) == 0) return nullptr;
  return std::unique_ptr<OctetFile>(new OctetFile(std::move(file), std::move(tensors)));
}

const std::byte* OctetFile::data(const StoredTensor& wanted) const {
  const SafetensorsEntry* found = tensors_.find(wanted.name);
  const std::string& path = file_.path();
  require(found, ErrorCode::InvalidFile, path, ": tensor '", wanted.name, "' is missing");
  require(found->dtype == wanted.dtype && found->shape == wanted.shape, ErrorCode::InvalidFile,
          path, ": tensor '", wanted.name, "' is ", found->dtype, " ", shape_text(found->shape),
          ", expected ", wanted.dtype, " ", shape_text(wanted.shape));
  require(reinterpret_cast<uintptr_t>(found->data.data()) % 64 == 0, ErrorCode::InvalidFile, path,
          ": tensor '", wanted.name, "' does not start on a 64-byte boundary");
  return found->data.data();
}

std::optional<TokenizerSource> OctetFile::tokenizer_source() const {
  const SafetensorsEntry* flat = tensors_.find(tokenizer_tensor);
  if (!flat) return std::nullopt;
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::flat;
  source.where = file_.path();
  source.bytes.assign(flat->data.begin(), flat->data.end());
  return source;
}

std::optional<Tokenizer> OctetFile::tokenizer() const {
  if (const auto source = tokenizer_source()) return make_tokenizer(*source);
  return std::nullopt;
}

OctetWriter::OctetWriter(const std::string& path, const OctetHeader& header,
                         const std::vector<StoredTensor>& plan,
                         const std::optional<Tokenizer>& tokenizer) {
  const bool rotated = header.rotation.any(), mixed = !header.two_planes.empty();
  const bool others = !header.schemes.others.empty(), newest = others || header.rotation.norm > 1;
  std::map<std::string, std::string> metadata = {{format_key, newest             ? newest_format
                                                              : rotated || mixed ? prepared_format
                                                                                 : plain_format},
                                                 {"octet.config", config_to_json(header.config)},
                                                 {"octet.scheme", to_string(header.schemes.model)}};
  if (others) metadata[schemes_key] = others_to_json(header.schemes);
  if (rotated) metadata[rotation_key] = rotation_to_json(header.rotation);
  if (mixed) metadata[two_planes_key] = two_planes_to_json(header.two_planes);
  if (!header.chat_template.empty()) metadata["octet.chat_template"] = header.chat_template;
  if (!header.bos_token.empty()) metadata["octet.bos_token"] = header.bos_token;
  if (!header.eos_token.empty()) metadata["octet.eos_token"] = header.eos_token;
  std::vector<SafetensorsWriter::Plan> tensors;
  for (const StoredTensor& tensor : plan)
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape});
  std::vector<std::byte> flat;
  if (tokenizer) {
    flat = tokenizer->impl()->serialize();
    tensors.push_back({tokenizer_tensor, "U8", {flat.size()}});
  }
  writer_ = std::make_unique<SafetensorsWriter>(path, metadata, tensors);
  if (tokenizer) writer_->write(plan.size(), 0, flat);
}

void OctetWriter::write(size_t index, uint64_t offset, std::span<const std::byte> bytes) {
  writer_->write(index, offset, bytes);
}

uint64_t OctetWriter::finish() {
  return writer_->finish();
}

}  // namespace octet
