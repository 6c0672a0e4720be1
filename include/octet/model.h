#pragma once
#include <octet/device.h>
#include <octet/error.h>
#include <octet/export.h>
#include <octet/handle.h>
#include <octet/tokenizer.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace OCTET_EXPORT octet {

/// How the weights of the linears, the embedding and the head are stored and multiplied.
enum class Scheme {
  f32,        ///< as read, multiplied by OpenBLAS; the reference for comparisons
  f16,        ///< fp16 weights, fp32 arithmetic
  w8a8,       ///< int8, one scale an output channel; activations int8, one scale a token
  w8a8_g128,  ///< int8, both with one scale a group of 128 along K (the last may be shorter)
};

/// "f32", "f16", "w8a8", "w8a8-g128".
const char* to_string(Scheme scheme) noexcept;
/// The reverse. Errors: InvalidArgument, naming the schemes that exist.
Scheme parse_scheme(std::string_view name);
/// Whether the linears multiply int8: w8a8 and w8a8-g128.
bool is_int8(Scheme scheme) noexcept;

/// Whether the weights of a checkpoint are rotated when they are read: multiplied by orthogonal
/// matrices that leave the model's function as it is and spread its outliers over all channels,
/// which int8 needs (docs/quantization.md). A tied head becomes a matrix of its own.
enum class Rotation {
  automatic,  ///< on for the int8 schemes, off for the others
  off,
  on,
  folded,  ///< only what can be folded into weights, so that other programs can run the model
};

/// "auto", "off", "on", "folded".
const char* to_string(Rotation rotation) noexcept;
/// The reverse. Errors: InvalidArgument.
Rotation parse_rotation(std::string_view name);

/// How a session stores keys and values.
enum class KvCacheType {
  f32,  ///< also what the f32 scheme has in place of f16: it is the reference
  f16,
  /// On the CPU: whole numbers up to 4095 times a scale for each position and head, 2 head_dim + 4
  /// bytes. As exact as f16 and faster, the more so the longer the context.
  int16,
  /// A scale for each position and head: head_dim + 4 bytes a key or value (for a head_dim that 16
  /// divides), faster with long contexts. Accuracy: adds a mean KL divergence of 0.0005 to
  /// SmolLM2-135M's logits (docs/architecture.md).
  int8,
};

/// "f32", "f16", "int16", "int8".
const char* to_string(KvCacheType type) noexcept;
/// "f16", "int16", "int8" or "f32", as ModelOptions takes them. Errors: InvalidArgument, naming
/// these.
KvCacheType parse_kv_cache(std::string_view name);

/// How the rotary angles follow from the position.
struct RopeScaling {
  enum class Kind { none, linear, yarn, dynamic_ntk };
  Kind kind = Kind::none;
  double factor = 1.0;
  int64_t original_context = 0;  ///< positions the model was trained for; 0: max_positions
  double attention_factor = 0;   ///< YaRN, on cos and sin; 0: 0.1 ln(factor) + 1
  double beta_fast = 32.0;       ///< YaRN
  double beta_slow = 1.0;        ///< YaRN
};

/// The shape of a decoder and what its checkpoint says about generating with it.
struct ModelConfig {
  std::string family;      ///< "qwen2" (also Qwen1.5, Qwen2.5, R1-Distill), "llama", "qwen3"
  int64_t vocab_size = 0;  ///< rows of the embedding, also ids without text
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;
  int64_t max_positions = 0;  ///< max_position_embeddings
  double rms_norm_eps = 1e-6;
  double rope_theta = 1e4;
  RopeScaling rope_scaling;
  bool tied_head = false;  ///< the head is the embedding
  bool qkv_bias = false;   ///< bias on q, k and v (Qwen2 family)
  bool qk_norm = false;    ///< RMSNorm of each q and k head before RoPE (Qwen3)

  // generation_config.json; octet's own defaults where it is silent (negative: not given).
  int32_t bos_id = -1;           ///< -1: none
  std::vector<int32_t> eos_ids;  ///< generation stops at each of these
  int do_sample = -1;            ///< 0, 1; -1: not given
  double temperature = -1;
  int64_t top_k = -1;
  double top_p = -1;
  double min_p = -1;
  double repetition_penalty = -1;
};

/// What INT8 harms most for its cost: small matrices whose errors reach every later token.
inline constexpr const char* default_mixed = "k,v";

struct ModelOptions {
  Device device;
  int threads = 0;               ///< 0: one for each core this process may use (device.h)
  Executor executor;             ///< if its run is set, in place of `threads` of octet's
  Scheme scheme = Scheme::w8a8;  ///< for sources that are quantized while they load
  Rotation rotation = Rotation::automatic;  ///< for these, too
  /// For these in an int8 scheme: the linears, of q,k,v,o,gate,up,down,head, whose inputs take two
  /// int8 planes, about 15 bits, at the price of a second multiplication (docs/quantization.md);
  /// or "off".
  std::string mixed = default_mixed;
  int64_t max_rows = 0;  ///< of a step, longer prompts are cut; 0: 512 (CPU), 2048 (CUDA)
  KvCacheType kv_cache = KvCacheType::f16;  ///< f16, int16, int8 or f32
  bool exact = false;  ///< CUDA gives int8 models the CPU's bits, and is slower
};

/// Called now and then during long work. Returning false cancels it (ErrorCode::Cancelled).
using ProgressCallback = bool (*)(void* context, int64_t done, int64_t total);
struct Progress {
  ProgressCallback call = nullptr;
  void* context = nullptr;
};

struct ModelImpl;
void retain(ModelImpl*) noexcept;
void release(ModelImpl*) noexcept;

/// A loaded model. Copies are cheap and share the weights and the thread pool.
class Model {
 public:
  /// path: a converted file (memory-mapped, ready at once), or any source that convert() takes,
  /// which is quantized by options.scheme while it loads.
  /// Errors: Io, InvalidFile, Unsupported, Device, OutOfMemory.
  static Model open(const std::string& path, const ModelOptions& options = {},
                    Progress progress = {});

  /// A model of a known shape with random weights from a fixed seed, without a tokenizer, for
  /// benchmarks. Errors: InvalidArgument naming the shapes that exist.
  static Model random(std::string_view shape, const ModelOptions& options = {},
                      Progress progress = {});

  const ModelConfig& config() const;
  Scheme scheme() const;
  /// Errors: Unsupported if the model has none (a bare Hugging Face directory).
  const Tokenizer& tokenizer() const;
  bool has_tokenizer() const;
  const std::string& chat_template() const;  ///< Jinja source; empty: none
  int threads() const;
  const char* device() const;  ///< as Device::parse takes it: "cpu", "cuda:0"
  /// Why Device::Kind::automatic took the CPU; empty if it did not.
  const std::string& device_note() const;
  /// The instruction set of the kernels in use: "ref", "avx2", ..., "sm_90"
  const char* instruction_set() const;
  int64_t weight_bytes() const;         ///< all weights
  int64_t decode_weight_bytes() const;  ///< weights read for each decoded token
  KvCacheType kv_cache() const;
  int64_t kv_bytes_per_token() const;

  explicit Model(Handle<ModelImpl> impl) : impl_(std::move(impl)) {}
  const Handle<ModelImpl>& impl() const { return impl_; }

 private:
  Handle<ModelImpl> impl_;
};

/// The names that Model::random takes.
std::vector<std::string> shape_names();

}  // namespace octet
