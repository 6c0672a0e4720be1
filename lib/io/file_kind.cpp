#include "lib/io/file_kind.h"

#include <filesystem>
#include <string_view>

#include "lib/core/mapped_file.h"

namespace octet {

FileKind file_kind(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return FileKind::directory;
  if (path.ends_with(".safetensors")) return FileKind::safetensors;
  if (path.ends_with(".gguf")) return FileKind::gguf;
  if (path.ends_with(".model")) return FileKind::sentencepiece;
  if (path.ends_with(".json")) return FileKind::json;

  const MappedFile file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  if (bytes.starts_with("GGUF")) return FileKind::gguf;
  // A length below 2^32, then the header's brace.
  if (bytes.size() > 8 && bytes.substr(4, 5) == std::string_view("\0\0\0\0{", 5))
    return FileKind::safetensors;
  return FileKind::unknown;
}

bool file_exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace octet
