#include "lib/backends/cpu/cpu_backend.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

constexpr int64_t max_max_rows = 1 << 16;
constexpr int max_threads = 1024;

}  // namespace

int thread_count(int asked) {
  require(asked >= 0 && asked <= max_threads, ErrorCode::InvalidArgument, "threads: ", asked,
          ", 0 (one a CPU) to ", max_threads, " expected");
  return asked == 0 ? usable_cpus() : asked;
}

Model make_model(const ModelConfig& config, Scheme scheme, const RotationSizes& rotation,
                 const TwoPlanes& two_planes, ModelText text, std::unique_ptr<TensorStore> store,
                 const ModelOptions& options) {
  require(options.device.kind != Device::Kind::cuda, ErrorCode::Device,
          "device cuda:", options.device.index,
          ": this build of octet has no CUDA backend; known: cpu");
  require(options.max_rows >= 1 && options.max_rows <= max_max_rows, ErrorCode::InvalidArgument,
          "max_rows: ", options.max_rows, ", 1 to ", max_max_rows, " expected");
  const bool int8_cache = options.kv_cache == KvCacheType::int8;
  require(int8_cache || options.kv_cache == KvCacheType::f16, ErrorCode::InvalidArgument,
          "kv_cache: ", to_string(options.kv_cache), ", f16 or int8 expected");
  auto impl = std::make_unique<ModelImpl>();
  impl->config = config;
  impl->scheme = scheme;
  impl->kv_cache = int8_cache              ? KvCacheType::int8
                   : scheme == Scheme::f32 ? KvCacheType::f32
                                           : KvCacheType::f16;
  impl->text = std::move(text);
  impl->store = std::move(store);
  impl->weights = bind_weights(impl->config, scheme, rotation, two_planes, *impl->store);
  impl->max_rows = options.max_rows;
  impl->pool = std::make_unique<ThreadPool>(thread_count(options.threads));
  impl->backend = std::make_unique<CpuBackend>(impl->config, scheme, options.max_rows,
                                               active_kernels(), *impl->pool);
  return Model(Handle<ModelImpl>(impl.release()));
}

}  // namespace octet
