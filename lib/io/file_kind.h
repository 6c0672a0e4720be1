#pragma once
#include <string>

namespace octet {

enum class FileKind { directory, safetensors, gguf, sentencepiece, json, unknown };

/// What a path holds, by its suffix, or by the file's first bytes where the suffix says nothing.
/// Errors: Io if it cannot be read.
FileKind file_kind(const std::string& path);

/// Something of this name is there and may be looked at.
bool file_exists(const std::string& path);

/// The folder that the file is in; "." where the path says nothing.
std::string folder_of(const std::string& path);

}  // namespace octet
