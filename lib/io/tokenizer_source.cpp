#include "lib/io/tokenizer_source.h"

#include "lib/core/error.h"
#include "lib/core/mapped_file.h"
#include "lib/io/file_kind.h"
#include "lib/io/gguf.h"
#include "lib/io/gguf_vocabulary.h"
#include "lib/io/safetensors.h"

namespace octet {
namespace {

constexpr size_t max_tokenizer_bytes = size_t{128} << 20;

std::string read_config(const std::string& folder) {
  const std::string path = folder + "/tokenizer_config.json";
  return file_exists(path) ? read_file(path, max_tokenizer_bytes) : "";
}

std::vector<std::byte> to_bytes(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

TokenizerSource read_json_file(const std::string& path) {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::json;
  source.where = path;
  source.json = read_file(path, max_tokenizer_bytes);
  source.config = read_config(folder_of(path));
  return source;
}

TokenizerSource read_sentencepiece_file(const std::string& path) {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::sentencepiece;
  source.where = path;
  const MappedFile file(path);
  require(file.bytes().size() <= max_tokenizer_bytes, ErrorCode::InvalidFile, path, ": ",
          file.bytes().size(), " bytes, at most ", max_tokenizer_bytes, " expected");
  source.bytes = to_bytes(file.bytes());
  source.config = read_config(folder_of(path));
  return source;
}

TokenizerSource read_gguf_file(const std::string& path) {
  const MappedFile file(path);
  auto vocabulary = read_gguf_vocabulary(Gguf(file.bytes(), path), path);
  require(vocabulary.has_value(), ErrorCode::Unsupported, path,
          ": no tokenizer in it (tokenizer.ggml.tokens)");
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::gguf;
  source.where = path;
  source.gguf = *std::move(vocabulary);
  return source;
}

TokenizerSource read_directory(const std::string& path) {
  if (const std::string json = path + "/tokenizer.json"; file_exists(json))
    return read_json_file(json);
  if (const std::string model = path + "/tokenizer.model"; file_exists(model))
    return read_sentencepiece_file(model);
  fail(ErrorCode::Unsupported, path,
       ": no tokenizer in it; known are tokenizer.json and tokenizer.model");
}

/// A converted file brings its own tokenizer; any other one has it beside it.
TokenizerSource read_safetensors_file(const std::string& path) {
  const MappedFile file(path);
  const Safetensors content = parse_safetensors(file.bytes(), path);
  const SafetensorsEntry* flat = content.find("octet.tokenizer");
  if (!flat && !content.metadata.contains("octet.format")) return read_directory(folder_of(path));
  require(flat != nullptr, ErrorCode::Unsupported, path,
          ": no tokenizer in it (tensor octet.tokenizer)");
  require(flat->dtype == "U8" && flat->shape.size() == 1, ErrorCode::InvalidFile, path,
          ": tensor octet.tokenizer: type ", flat->dtype, " of rank ", flat->shape.size(),
          ", expected U8 of rank 1");
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::flat;
  source.where = path;
  source.bytes = to_bytes(flat->data);
  return source;
}

}  // namespace

TokenizerSource read_tokenizer_source(const std::string& path) {
  switch (file_kind(path)) {
    case FileKind::directory:
      return read_directory(path);
    case FileKind::json:
      return read_json_file(path);
    case FileKind::sentencepiece:
      return read_sentencepiece_file(path);
    case FileKind::gguf:
      return read_gguf_file(path);
    case FileKind::safetensors:
      return read_safetensors_file(path);
    case FileKind::unknown:
      break;
  }
  fail(ErrorCode::Unsupported, path,
       ": no tokenizer in it; known are tokenizer.json, tokenizer.model, GGUF and octet files");
}

}  // namespace octet
