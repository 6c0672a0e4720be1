#pragma once
// octet's own file: a safetensors file with the config, scheme, tokenizer and chat template inside.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/mapped_file.h"
#include "lib/io/safetensors.h"
#include "lib/model/model_impl.h"
#include "lib/model/rotation.h"
#include "lib/model/schemes.h"
#include "lib/model/tensor_store.h"
#include "lib/model/two_planes.h"

namespace octet {

/// What a converted file says besides its tensors.
struct OctetHeader {
  ModelConfig config;
  Schemes schemes = Scheme::w8a8;
  RotationSizes rotation;
  TwoPlanes two_planes;
  std::string chat_template;
  std::string bos_token;
  std::string eos_token;
};

/// The U8 tensor that holds the tokenizer's flat form.
inline constexpr const char* tokenizer_tensor = "octet.tokenizer";

/// A mapped converted file.
class OctetFile : public TensorStore {
 public:
  /// Null if the file is no converted octet file (a directory, another safetensors, a GGUF).
  /// Errors: Io; InvalidFile if it is damaged; Unsupported for a newer format version.
  static std::unique_ptr<OctetFile> open(const std::string& path);

  const OctetHeader& header() const { return header_; }
  const Safetensors& tensors() const { return tensors_; }
  const std::string& path() const { return file_.path(); }
  /// Empty if the file holds no tokenizer. Errors: InvalidFile.
  std::optional<TokenizerSource> tokenizer_source() const;
  std::optional<Tokenizer> tokenizer() const;
  bool has(const std::string& name) const override { return tensors_.find(name); }
  const std::byte* data(const StoredTensor& tensor) const override;
  uint64_t file_bytes() const { return file_.bytes().size(); }

 private:
  OctetFile(MappedFile file, Safetensors tensors);

  MappedFile file_;
  Safetensors tensors_;
  OctetHeader header_;
};

/// Writes a converted file; tensor indices are those of the plan. Errors: Io.
class OctetWriter : public TensorSink {
 public:
  OctetWriter(const std::string& path, const OctetHeader& header,
              const std::vector<StoredTensor>& plan, const std::optional<Tokenizer>& tokenizer);
  void write(size_t index, uint64_t offset, std::span<const std::byte> bytes) override;
  /// Flushes and renames. Returns the file's size.
  uint64_t finish();

 private:
  std::unique_ptr<SafetensorsWriter> writer_;
};

}  // namespace octet
