// Sessions in files: a safetensors file with the ids, the KV blocks, and the conversation.
#include <octet/session.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <sstream>

#include "kernels/types.h"
#include "lib/core/error.h"
#include "lib/core/mapped_file.h"
#include "lib/generate/session_impl.h"
#include "lib/io/json.h"
#include "lib/io/json_object.h"
#include "lib/io/safetensors.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

using kernels::kv_block;

constexpr const char* format_key = "octet.session";
constexpr const char* format = "1";

std::string hexadecimal(uint64_t value) {
  std::ostringstream out;
  out << std::hex << value;
  return std::move(out).str();
}

std::string messages_to_json(const std::vector<ChatMessage>& messages) {
  nlohmann::json list = nlohmann::json::array();
  for (const ChatMessage& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  return list.dump();
}

std::vector<ChatMessage> messages_from_json(const std::string& text, const std::string& path) {
  const nlohmann::json list = parse_json(text, path);
  require(list.is_array(), ErrorCode::InvalidFile, path, ": octet.messages is not a list");
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& value : list) {
    const JsonObject message(value, path);
    messages.push_back({message.required_text("role"), message.required_text("content")});
  }
  return messages;
}

/// Whether a 16-bit or 32-bit floating-point number has the exponent of infinity and NaN.
bool is_finite(uint16_t half) {
  return (half & 0x7c00) != 0x7c00;
}
bool is_finite(float value) {
  return std::isfinite(value);
}

/// Keys [dim][64] and values [64][dim], of positions before `count`.
template <class T>
bool finite_values(const std::byte* keys, const std::byte* values, int64_t dim, int64_t count) {
  const auto element = [](const std::byte* from, int64_t index) {
    T value;
    std::memcpy(&value, from + index * int64_t{sizeof(T)}, sizeof value);
    return value;
  };
  for (int64_t slot = 0; slot < count; ++slot)
    for (int64_t d = 0; d < dim; ++d)
      if (!is_finite(element(keys, d * kv_block + slot)) ||
          !is_finite(element(values, slot * dim + d)))
        return false;
  return true;
}

/// Whether all values of a block of int16 are such as quantizing makes them: int32 holds sums of
/// their products.
bool in_range(const std::byte* block, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    int16_t value;
    std::memcpy(&value, block + 2 * i, sizeof value);
    if (value < -kernels::kv_s16_levels || value > kernels::kv_s16_levels) return false;
  }
  return true;
}

/// Whether keys and values of a block of integers are such as the kernels demand.
template <class T>
bool valid_integers(const std::byte* keys, const std::byte* values, int64_t head_dim) {
  const int64_t count = kernels::kv_scales(head_dim), scales = count * int64_t{sizeof(T)};
  if (sizeof(T) == 2 && !(in_range(keys, count) && in_range(values, count))) return false;
  return finite_values<float>(keys + scales, values + scales, 1, kv_block);
}

/// Whether the block's first `count` positions hold what the kernels demand: finite numbers.
bool valid_block(const ModelConfig& config, const KvLayout& layout, const std::byte* block,
                 int64_t count) {
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    for (int64_t head = 0; head < layout.kv_heads; ++head) {
      const std::byte* keys = block + layout.keys(layer, head) * layout.part_bytes;
      const std::byte* values = block + layout.values(layer, head) * layout.part_bytes;
      const int64_t d = config.head_dim;
      const bool valid =
          layout.type == KvCacheType::f16     ? finite_values<uint16_t>(keys, values, d, count)
          : layout.type == KvCacheType::f32   ? finite_values<float>(keys, values, d, count)
          : layout.type == KvCacheType::int16 ? valid_integers<int16_t>(keys, values, d)
                                              : valid_integers<int8_t>(keys, values, d);
      if (!valid) return false;
    }
  return true;
}

const std::string& value_of(const Safetensors& file, const char* key, const std::string& path) {
  const auto found = file.metadata.find(key);
  require(found != file.metadata.end(), ErrorCode::InvalidFile, path, ": no metadata key '", key,
          "'");
  return found->second;
}

std::span<const std::byte> tensor_of(const Safetensors& file, const char* name, const char* dtype,
                                     const std::string& path) {
  const SafetensorsEntry* entry = file.find(name);
  require(entry, ErrorCode::InvalidFile, path, ": no tensor '", name, "'");
  require(entry->dtype == dtype, ErrorCode::InvalidFile, path, ": tensor '", name, "' is ",
          entry->dtype, ", ", dtype, " expected");
  return entry->data;
}

void check_header(const Model& model, const Safetensors& file, const std::string& path) {
  const std::string& version = value_of(file, format_key, path);
  require(version == format, ErrorCode::Unsupported, path, ": session file format version '",
          version, "', this octet reads version ", format);
  const std::string& kv_cache = value_of(file, "octet.kv_cache", path);
  require(kv_cache == to_string(model.kv_cache()), ErrorCode::InvalidArgument, path,
          ": the session's KV cache is ", kv_cache, ", the model's is ",
          to_string(model.kv_cache()));
  const std::string& saved = value_of(file, "octet.fingerprint", path);
  const std::string own = hexadecimal(fingerprint(*model.impl()));
  require(saved == own, ErrorCode::InvalidArgument, path,
          ": the session was saved with another model (fingerprint ", saved, ", this model's is ",
          own, ")");
}

/// The rotary frequencies of some models depend on the session's context.
void check_rope(const ModelConfig& config, const Rope& rope, const std::string& context,
                const std::string& path) {
  int64_t saved = 0;
  const auto [end, problem] =
      std::from_chars(context.data(), context.data() + context.size(), saved);
  require(problem == std::errc() && end == context.data() + context.size() && saved > 0 &&
              saved <= context_limit(config),
          ErrorCode::InvalidFile, path, ": octet.context is '", context, "', a number from 1 to ",
          context_limit(config), " expected");
  require(make_rope(config, saved).inv_freq == rope.inv_freq, ErrorCode::InvalidArgument, path,
          ": this model's positions depend on the context: the session was saved with ", saved,
          " positions and needs as many");
}

}  // namespace

void Session::save(const std::string& path) const {
  const Sequence& sequence = impl_->sequence;
  require(sequence.adapters.empty(), ErrorCode::Unsupported, path,
          ": a session with adapters cannot be saved: the file would not say with which");
  KvPool& pool = sequence.cache.pool();
  const int64_t block_bytes = pool.layout().block_bytes, blocks = kv_blocks(sequence.size());
  const std::map<std::string, std::string> metadata = {
      {format_key, format},
      {"octet.fingerprint", hexadecimal(fingerprint(*impl_->model.impl()))},
      {"octet.kv_cache", to_string(pool.layout().type)},
      {"octet.context", std::to_string(sequence.context)},
      {"octet.messages", messages_to_json(impl_->messages)}};
  SafetensorsWriter writer(
      path, metadata,
      {{"tokens", "I32", {sequence.tokens.size()}},
       {"kv", "U8", {static_cast<uint64_t>(blocks), static_cast<uint64_t>(block_bytes)}}});
  writer.write(0, 0, std::as_bytes(std::span(sequence.tokens)));
  std::vector<std::byte> host(static_cast<size_t>(block_bytes));
  for (int64_t i = 0; i < blocks; ++i) {
    pool.read(host.data(), *sequence.cache.blocks()[static_cast<size_t>(i)]);
    writer.write(1, static_cast<uint64_t>(i * block_bytes), host);
  }
  writer.finish();
}

Session Session::load(const Model& model, const std::string& path, const SessionOptions& options) {
  require(options.adapters.empty(), ErrorCode::Unsupported, path,
          ": a saved session has no adapters; set them afterwards");
  const MappedFile mapped(path);
  const Safetensors file = parse_safetensors(mapped.bytes(), path);
  check_header(model, file, path);
  const std::span<const std::byte> tokens = tensor_of(file, "tokens", "I32", path);
  const std::span<const std::byte> kv = tensor_of(file, "kv", "U8", path);
  std::vector<int32_t> ids(tokens.size() / sizeof(int32_t));
  if (!ids.empty()) std::memcpy(ids.data(), tokens.data(), tokens.size());

  Session session(model, options);
  SessionImpl& impl = *session.impl_;
  check_rope(model.config(), impl.rope, value_of(file, "octet.context", path), path);
  require(std::ssize(ids) <= session.context(), ErrorCode::InvalidArgument, path,
          ": the session has ", ids.size(), " tokens, the context holds ", session.context());
  for (int32_t id : ids)
    require(id >= 0 && id < model.config().vocab_size, ErrorCode::InvalidFile, path, ": token id ",
            id, " is outside the vocabulary of ", model.config().vocab_size);
  KvPool& pool = impl.sequence.cache.pool();
  const auto block_bytes = static_cast<size_t>(pool.layout().block_bytes);
  const auto blocks = static_cast<size_t>(kv_blocks(std::ssize(ids)));
  require(kv.size() == blocks * block_bytes, ErrorCode::InvalidFile, path, ": 'kv' has ", kv.size(),
          " bytes, ", ids.size(), " tokens need ", blocks * block_bytes);
  impl.messages = messages_from_json(value_of(file, "octet.messages", path), path);
  impl.sequence.cache.extend(0, std::ssize(ids));
  for (size_t i = 0; i < blocks; ++i) {
    const std::byte* from = kv.data() + i * block_bytes;
    const int64_t count =
        std::min<int64_t>(kv_block, std::ssize(ids) - static_cast<int64_t>(i) * kv_block);
    require(valid_block(model.config(), pool.layout(), from, count), ErrorCode::InvalidFile, path,
            ": 'kv' holds a value that is not finite, or out of range");
    pool.write(*impl.sequence.cache.blocks()[i], from);
  }
  impl.sequence.tokens = std::move(ids);
  impl.sequence.tokens.reserve(static_cast<size_t>(session.context()));
  return session;
}

}  // namespace octet
