#include "lib/backends/cpu/cpu_backend.h"
#include "lib/backends/cuda/cuda_devices.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/folded_columns.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

constexpr int64_t max_max_rows = 1 << 16;
constexpr int max_threads = 1024;
// Activations stay in the caches of a CPU; a GPU wants work for all its multiprocessors.
constexpr int64_t cpu_rows = 512, cuda_rows = 2048;

std::vector<int32_t> textless_ids(const ModelImpl& impl) {
  std::vector<int32_t> ids;
  if (impl.text.tokenizer)
    for (int32_t id = 0; id < impl.config.vocab_size; ++id)
      if (!impl.text.tokenizer->has_text(id)) ids.push_back(id);
  return ids;
}

void use_cpu(ModelImpl& impl, const ModelOptions& options) {
  impl.max_rows = options.max_rows > 0 ? options.max_rows : cpu_rows;
  impl.backend = std::make_unique<CpuBackend>(impl.config, impl.schemes.model, impl.max_rows,
                                              active_kernels(), *impl.pool);
}

void use_cuda(ModelImpl& impl, const ModelOptions& options, Progress progress) {
  require(impl.kv_cache == KvCacheType::f16 || impl.kv_cache == KvCacheType::int8,
          ErrorCode::Unsupported, "device cuda: kv_cache ", to_string(impl.kv_cache),
          ", f16 or int8 expected");
  impl.max_rows = options.max_rows > 0 ? options.max_rows : cuda_rows;
  impl.weights_fingerprint = weights_fingerprint(impl.config, impl.weights);
  impl.backend = make_cuda_backend(options.device.index, impl.config, impl.max_rows, options.exact,
                                   impl.weights, progress);
  impl.store = copy_for_adapters(impl.config, impl.rotation, *impl.store);
}

/// CUDA if it can be had; otherwise the CPU, and device_note says why.
void use_best(ModelImpl& impl, const ModelOptions& options, Progress progress) {
  impl.device_note = why_no_cuda(options.device.index);
  if (impl.device_note.empty()) try {
      return use_cuda(impl, options, progress);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::Cancelled) throw;
      impl.device_note = error.what();
    }
  use_cpu(impl, options);
}

}  // namespace

int thread_count(int asked) {
  require(asked >= 0 && asked <= max_threads, ErrorCode::InvalidArgument, "threads: ", asked,
          ", 0 (one a core) to ", max_threads, " expected");
  return asked == 0 ? usable_cores() : asked;
}

std::unique_ptr<ThreadPool> make_pool(const ModelOptions& options) {
  if (!options.executor.run) return std::make_unique<ThreadPool>(thread_count(options.threads));
  require(options.executor.threads <= max_threads, ErrorCode::InvalidArgument,
          "executor.threads: ", options.executor.threads, ", at most ", max_threads, " expected");
  return std::make_unique<ThreadPool>(options.executor);
}

Model make_model(const ModelConfig& config, const Schemes& schemes, const RotationSizes& rotation,
                 const TwoPlanes& two_planes, ModelText text, std::unique_ptr<TensorStore> store,
                 const ModelOptions& options, Progress progress) {
  require(options.max_rows >= 0 && options.max_rows <= max_max_rows, ErrorCode::InvalidArgument,
          "max_rows: ", options.max_rows, ", 0 (the device's own) to ", max_max_rows, " expected");
  require(options.kv_cache == KvCacheType::f16 || options.kv_cache == KvCacheType::int16 ||
              options.kv_cache == KvCacheType::int8 || options.kv_cache == KvCacheType::f32,
          ErrorCode::InvalidArgument, "kv_cache: ", to_string(options.kv_cache),
          ", f16, int16, int8 or f32 expected");
  auto impl = std::make_unique<ModelImpl>();
  impl->config = config;
  impl->schemes = schemes;
  impl->rotation = rotation;
  const bool wide = schemes.model == Scheme::f32 && options.kv_cache == KvCacheType::f16;
  impl->kv_cache = wide ? KvCacheType::f32 : options.kv_cache;
  impl->text = std::move(text);
  impl->store = std::move(store);
  impl->pool = make_pool(options);
  impl->textless = textless_ids(*impl);
  impl->weights = bind_weights(impl->config, schemes, rotation, two_planes, *impl->store);
  switch (options.device.kind) {
    case Device::Kind::cpu:
      use_cpu(*impl, options);
      break;
    case Device::Kind::cuda:
      use_cuda(*impl, options, progress);
      break;
    case Device::Kind::automatic:
      use_best(*impl, options, progress);
      break;
  }
  impl->backend->leave_out(impl->textless);
  impl->kv_pool =
      std::make_unique<KvPool>(impl->config, impl->kv_cache, impl->backend->kv_memory());
  return Model(Handle<ModelImpl>(impl.release()));
}

}  // namespace octet
