// Keys and tensor names: as lib/io/gguf_checkpoint.cpp reads them.
#include "lib/export/gguf_file.h"

#include <cmath>

#include "lib/core/error.h"
#include "lib/export/export_tensors.h"
#include "lib/export/flat_tokenizer.h"
#include "lib/io/gguf_checkpoint.h"
#include "lib/io/gguf_writer.h"
#include "lib/text/bpe_export.h"
#include "lib/text/sentencepiece_model.h"

namespace octet {
namespace {

/// general.file_type
constexpr int64_t mostly_f16 = 1, mostly_q8_0 = 7;
constexpr int64_t quantization_version = 2;

void add_rope(const ModelConfig& config, const std::string& where, GgufWriter& out) {
  const RopeScaling& scaling = config.rope_scaling;
  const std::string prefix = config.family + ".rope.";
  out.u32(prefix + "dimension_count", config.head_dim);
  out.f32(prefix + "freq_base", config.rope_theta);
  if (scaling.kind == RopeScaling::Kind::none) return;
  require(scaling.kind != RopeScaling::Kind::dynamic_ntk, ErrorCode::Unsupported, where,
          ": a dynamic RoPE scaling, which GGUF does not have");
  const bool yarn = scaling.kind == RopeScaling::Kind::yarn;
  out.text(prefix + "scaling.type", yarn ? "yarn" : "linear");
  out.f32(prefix + "scaling.factor", scaling.factor);
  if (!yarn) return;
  const double usual = 0.1 * std::log(scaling.factor) + 1;
  require(scaling.attention_factor == 0 || std::fabs(scaling.attention_factor - usual) < 1e-6,
          ErrorCode::Unsupported, where, ": a YaRN attention_factor of ", scaling.attention_factor,
          "; in GGUF it is ", usual);
  if (scaling.original_context > 0)
    out.u32(prefix + "scaling.original_context_length", scaling.original_context);
  out.f32(prefix + "scaling.yarn_beta_fast", scaling.beta_fast);
  out.f32(prefix + "scaling.yarn_beta_slow", scaling.beta_slow);
}

void add_config(const ModelConfig& config, const std::string& where, bool quantized,
                GgufWriter& out) {
  const std::string prefix = config.family + ".";
  out.text("general.architecture", config.family);
  out.u32("general.file_type", quantized ? mostly_q8_0 : mostly_f16);
  out.u32("general.quantization_version", quantization_version);
  out.u32(prefix + "context_length", config.max_positions);
  out.u32(prefix + "embedding_length", config.hidden_size);
  out.u32(prefix + "block_count", config.num_layers);
  out.u32(prefix + "feed_forward_length", config.intermediate_size);
  out.u32(prefix + "attention.head_count", config.num_heads);
  out.u32(prefix + "attention.head_count_kv", config.num_kv_heads);
  out.u32(prefix + "attention.key_length", config.head_dim);
  out.u32(prefix + "attention.value_length", config.head_dim);
  out.f32(prefix + "attention.layer_norm_rms_epsilon", config.rms_norm_eps);
  out.u32(prefix + "vocab_size", config.vocab_size);
  add_rope(config, where, out);
}

GgufVocabulary sentencepiece_vocabulary(const FlatSentencepiece& tokenizer,
                                        const std::string& where) {
  const SentencepieceModel model =
      parse_sentencepiece_model(std::as_bytes(std::span<const char>(tokenizer.proto)), where);
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.pre = "default";
  for (const SentencepieceModel::Piece& piece : model.pieces) {
    vocabulary.tokens.push_back(piece.text);
    vocabulary.scores.push_back(piece.score);
    vocabulary.types.push_back(static_cast<int32_t>(piece.type));
  }
  require(model.algorithm == SentencepieceModel::Algorithm::bpe, ErrorCode::Unsupported, where,
          ": a unigram sentencepiece model; GGUF's \"llama\" tokenizer is BPE");
  for (const AddedToken& token : tokenizer.added)
    require(static_cast<size_t>(token.id) < model.pieces.size() &&
                model.pieces[static_cast<size_t>(token.id)].text == token.text,
            ErrorCode::Unsupported, where, ": added token \"", token.text,
            "\", which is no piece of the sentencepiece model");
  vocabulary.bos_id = tokenizer.bos_id;
  vocabulary.add_bos = tokenizer.add_bos;
  vocabulary.add_space_prefix = model.add_dummy_prefix;
  return vocabulary;
}

void add_token_ids(const ModelConfig& config, int32_t bos_id, GgufWriter& out) {
  if (bos_id >= 0) out.u32("tokenizer.ggml.bos_token_id", bos_id);
  const char* const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                              "tokenizer.ggml.eom_token_id"};
  for (size_t i = 0; i < std::min(std::size(keys), config.eos_ids.size()); ++i)
    out.u32(keys[i], config.eos_ids[i]);
}

void add_tokenizer(const Checkpoint& checkpoint, GgufWriter& out) {
  const CheckpointText& text = checkpoint.text();
  const ModelConfig& config = checkpoint.config();
  if (!text.chat_template.empty()) out.text("tokenizer.chat_template", text.chat_template);
  if (!text.tokenizer) return add_token_ids(config, config.bos_id, out);
  const FlatTokenizer tokenizer = flat_tokenizer(*text.tokenizer);
  const GgufVocabulary vocabulary =
      tokenizer.bpe ? bpe_to_gguf(*tokenizer.bpe, config.vocab_size, checkpoint.path())
                    : sentencepiece_vocabulary(*tokenizer.sentencepiece, checkpoint.path());
  out.text("tokenizer.ggml.model", vocabulary.model);
  out.text("tokenizer.ggml.pre", vocabulary.pre);
  out.texts("tokenizer.ggml.tokens", vocabulary.tokens);
  out.i32s("tokenizer.ggml.token_type", vocabulary.types);
  if (!vocabulary.scores.empty()) out.f32s("tokenizer.ggml.scores", vocabulary.scores);
  if (!vocabulary.merges.empty()) out.texts("tokenizer.ggml.merges", vocabulary.merges);
  out.boolean("tokenizer.ggml.add_bos_token", vocabulary.add_bos);
  if (!tokenizer.bpe) out.boolean("tokenizer.ggml.add_space_prefix", vocabulary.add_space_prefix);
  add_token_ids(config, vocabulary.bos_id >= 0 ? vocabulary.bos_id : config.bos_id, out);
}

/// Heads whose rows llama.cpp wants in another order; 0: none.
int64_t interleaved_heads(const ModelConfig& config, const std::string& name) {
  if (config.family != "llama") return 0;
  if (name.ends_with("q_proj.weight")) return config.num_heads;
  if (name.ends_with("k_proj.weight")) return config.num_kv_heads;
  return 0;
}

std::vector<ExportedTensor> add_tensors(const ModelConfig& config, const Encoding& encoding,
                                        GgufWriter& out) {
  std::vector<ExportedTensor> tensors;
  for (const ModelTensor& tensor : model_tensors(config)) {
    const bool matrix = tensor.shape.size() == 2;
    const bool whole = tensor.shape.back() % encoding.block_values == 0;
    const Encoding& chosen = !matrix ? encode_f32 : whole ? encoding : encode_f16;
    int64_t count = 1;
    for (int64_t extent : tensor.shape) count *= extent;
    ExportedTensor exported{tensor, &chosen};
    exported.index =
        out.tensor(gguf_name(tensor.name), tensor.shape, chosen.gguf, chosen.bytes(count));
    exported.interleaved_heads = interleaved_heads(config, tensor.name);
    tensors.push_back(std::move(exported));
  }
  return tensors;
}

}  // namespace

void export_gguf(const Checkpoint& checkpoint, const std::string& output, const Encoding& encoding,
                 ExportReport& report, ThreadPool& pool, Progress progress) {
  GgufWriter writer;
  add_config(checkpoint.config(), checkpoint.path(), &encoding == &encode_q8_0, writer);
  add_tokenizer(checkpoint, writer);
  const std::vector<ExportedTensor> tensors = add_tensors(checkpoint.config(), encoding, writer);
  writer.start(output);
  export_tensors(
      checkpoint, tensors,
      [&](size_t index, uint64_t offset, std::span<const std::byte> bytes) {
        writer.write(index, offset, bytes);
      },
      pool, progress);
  report.output_bytes = writer.finish();
  report.tensors = static_cast<int64_t>(tensors.size());
}

}  // namespace octet
