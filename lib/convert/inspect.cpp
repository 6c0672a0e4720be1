#include <octet/quant.h>

#include "lib/io/checkpoint.h"
#include "lib/model/octet_file.h"

namespace octet {
namespace {

FileInfo inspect_converted(const OctetFile& file) {
  FileInfo info;
  info.rotated = file.header().rotation.any();
  info.two_planes = {file.header().two_planes.begin(), file.header().two_planes.end()};
  info.format = "octet " + file.tensors().metadata.at("octet.format");
  info.scheme = to_string(file.header().schemes.model);
  for (const auto& [weight, scheme] : file.header().schemes.others)
    info.other_schemes.push_back({weight, to_string(scheme)});
  info.config = file.header().config;
  for (const SafetensorsEntry& entry : file.tensors().tensors)
    info.tensors.push_back(
        {entry.name, entry.dtype, {entry.shape.begin(), entry.shape.end()}, entry.data.size()});
  info.file_bytes = file.file_bytes();
  info.has_tokenizer = file.tensors().find(tokenizer_tensor) != nullptr;
  info.has_chat_template = !file.header().chat_template.empty();
  return info;
}

FileInfo inspect_checkpoint(const Checkpoint& checkpoint) {
  FileInfo info;
  info.format = checkpoint.format();
  info.config = checkpoint.config();
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    info.tensors.push_back({tensor.name, tensor.type, tensor.shape, tensor.bytes});
    info.file_bytes += tensor.bytes;
  }
  info.has_tokenizer = checkpoint.text().tokenizer.has_value();
  info.has_chat_template = !checkpoint.text().chat_template.empty();
  return info;
}

}  // namespace

FileInfo inspect(const std::string& path) {
  if (const std::unique_ptr<OctetFile> file = OctetFile::open(path))
    return inspect_converted(*file);
  return inspect_checkpoint(*open_checkpoint(path));
}

}  // namespace octet
