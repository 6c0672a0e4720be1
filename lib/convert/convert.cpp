// Checkpoint to octet file, and checkpoint to model: the same steps into another sink.
#include <octet/quant.h>

#include <chrono>

#include "lib/convert/memory_store.h"
#include "lib/convert/random_checkpoint.h"
#include "lib/convert/rotated_checkpoint.h"
#include "lib/convert/write_tensors.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/octet_file.h"
#include "lib/text/tokenizer_impl.h"

namespace octet {
namespace {

ModelText text_of(const Checkpoint& checkpoint) {
  const CheckpointText& text = checkpoint.text();
  ModelText result{std::nullopt, text.chat_template, text.bos_token, text.eos_token};
  if (text.tokenizer) result.tokenizer = make_tokenizer(*text.tokenizer);
  return result;
}

/// A checkpoint as it is to be stored.
struct Source {
  std::unique_ptr<Checkpoint> checkpoint;
  RotationSizes rotation;
};

Source rotate_if(Rotation rotation, Scheme scheme, std::unique_ptr<Checkpoint> checkpoint) {
  if (rotation == Rotation::off || (rotation == Rotation::automatic && !is_int8(scheme)))
    return {std::move(checkpoint), {}};
  const RotationSizes sizes = rotation_sizes(checkpoint->config());
  return {rotated_checkpoint(std::move(checkpoint)), sizes};
}

Model quantize_in_memory(std::unique_ptr<Checkpoint> original, const ModelOptions& options,
                         Progress progress) {
  const auto [source, rotation] = rotate_if(options.rotation, options.scheme, std::move(original));
  const Checkpoint& checkpoint = *source;
  auto store = std::make_unique<MemoryStore>(stored_tensors(checkpoint.config(), options.scheme));
  {
    ThreadPool pool(thread_count(options.threads));
    write_tensors(checkpoint, options.scheme, *store, pool, progress);
  }
  return make_model(checkpoint.config(), options.scheme, rotation, text_of(checkpoint),
                    std::move(store), options, progress);
}

}  // namespace

Model Model::open(const std::string& path, const ModelOptions& options, Progress progress) {
  if (std::unique_ptr<OctetFile> file = OctetFile::open(path)) {
    const OctetHeader header = file->header();
    ModelText text{file->tokenizer(), header.chat_template, header.bos_token, header.eos_token};
    return make_model(header.config, header.scheme, header.rotation, std::move(text),
                      std::move(file), options, progress);
  }
  return quantize_in_memory(open_checkpoint(path), options, progress);
}

Model Model::random(std::string_view shape, const ModelOptions& options, Progress progress) {
  return quantize_in_memory(random_checkpoint(shape), options, progress);
}

ConvertReport convert(const std::string& source, const std::string& output,
                      const ConvertOptions& options, Progress progress) {
  const auto start = std::chrono::steady_clock::now();
  require(!OctetFile::open(source), ErrorCode::InvalidArgument, source,
          ": is a converted octet file already; give the checkpoint it was made from");
  const auto [checkpoint, rotation] =
      rotate_if(options.rotation, options.scheme, open_checkpoint(source));
  const ModelText text = text_of(*checkpoint);
  const std::vector<StoredTensor> plan = stored_tensors(checkpoint->config(), options.scheme);
  OctetWriter writer(output,
                     {checkpoint->config(), options.scheme, rotation, text.chat_template,
                      text.bos_token, text.eos_token},
                     plan, text.tokenizer);
  ThreadPool pool(thread_count(options.threads));
  write_tensors(*checkpoint, options.scheme, writer, pool, progress);

  ConvertReport report;
  report.output_bytes = writer.finish();
  report.tensors = static_cast<int64_t>(plan.size());
  for (const ModelTensor& tensor : model_tensors(checkpoint->config())) {
    int64_t count = 1;
    for (int64_t extent : tensor.shape) count *= extent;
    report.input_weights += count;
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace octet
