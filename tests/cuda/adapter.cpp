// LoRA adapters beside the weights on the device, against the CPU.
#include <octet/adapter.h>
#include <octet/quant.h>

#include <tuple>

#include "tests/cuda/compare.h"
#include "tests/cuda/device.h"
#include "tests/support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

using Names = std::vector<const char*>;

std::vector<Adapter> load(const Model& model, const std::string& name, const Names& adapters) {
  std::vector<Adapter> loaded;
  for (const char* adapter : adapters)
    loaded.push_back(Adapter::load(model, fixture("lora/" + name + "/" + adapter)));
  return loaded;
}

std::vector<float> logits_with(const Model& model, const std::vector<Adapter>& adapters,
                               const std::vector<int32_t>& ids, size_t chunk = 0) {
  Session session(model, {.context = 128, .adapters = adapters});
  return all_logits(session, ids, chunk);
}

/// Both devices with the same options.
struct Pair {
  Pair(const std::string& path, const ModelOptions& options)
      : cpu(open(path, options, Device::cpu())), cuda(open(path, options, Device::cuda())) {}
  static Model open(const std::string& path, ModelOptions options, const Device& device) {
    options.device = device;
    options.max_rows = 64;
    return Model::open(path, options);
  }
  Model cpu, cuda;
};

void check_like_cpu(const Pair& pair, const std::string& name, const Names& adapters) {
  const std::vector<int32_t> ids = some_ids(pair.cpu, 30, 1);
  const auto vocab = static_cast<size_t>(pair.cpu.config().vocab_size);
  const std::vector<float> expected = logits_with(pair.cpu, load(pair.cpu, name, adapters), ids);
  const std::vector<Adapter> on_device = load(pair.cuda, name, adapters);
  const double without = least_cosine(logits_with(pair.cuda, {}, ids), expected, vocab);
  for (size_t chunk : {0, 1, 7}) {
    CAPTURE(chunk);
    const double with =
        least_cosine(logits_with(pair.cuda, on_device, ids, chunk), expected, vocab);
    CHECK(with > 0.998);
    CHECK(2 * (1 - with) < 1 - without);  // they do something
  }
}

}  // namespace

TEST_CASE("cuda: adapters beside int8 and fp16 weights give the CPU's logits") {
  if (!has_cuda()) return;
  for (const auto& [name, scheme, kv_cache] :
       {std::tuple{"tiny-qwen2", Scheme::w8a8, KvCacheType::int8},
        {"tiny-qwen2-tied", Scheme::w8a8_g128, KvCacheType::f16},
        {"tiny-qwen2-tied", Scheme::f16, KvCacheType::f16}}) {
    CAPTURE(name);
    CAPTURE(to_string(scheme));
    ModelOptions options;
    options.scheme = scheme;
    options.mixed = "off";
    options.kv_cache = kv_cache;
    const Pair pair(fixture(name), options);
    check_like_cpu(pair, name, {"all"});
    check_like_cpu(pair, name, {"all", "some"});
  }
}

TEST_CASE("cuda: adapters of converted files, rotated and scaled, and of the head") {
  if (!has_cuda()) return;
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("source"));
  ConvertOptions options;
  options.mixed = "off";
  options.calibration = Calibrate::text;
  for (int i = 0; i < 40; ++i)
    options.calibration_text += "a quick brown fox; " + std::to_string(i);
  convert(folder.path("source"), folder.path("scaled"), options);
  options.calibration = Calibrate::off;
  convert(folder.path("source"), folder.path("rotated"), options);
  for (const char* file : {"scaled", "rotated"}) {
    CAPTURE(file);
    const Pair pair(folder.path(file), {});
    for (const char* adapter : {"all", "head"}) check_like_cpu(pair, "tiny-qwen2", {adapter});
  }
}

TEST_CASE("cuda: sequences with different adapters in one step have the bits of each alone") {
  if (!has_cuda()) return;
  const std::string name = "tiny-qwen2-tied";
  ModelOptions options;
  options.device = Device::cuda();
  const Model model = Model::open(fixture(name), options);
  const std::vector<std::vector<Adapter>> sets = {{},
                                                  load(model, name, {"all"}),
                                                  load(model, name, {"some"}),
                                                  load(model, name, {"all", "some"})};
  const std::vector<int32_t> ids = some_ids(model, 30, 1);
  std::vector<std::vector<float>> alone_logits, together(sets.size());
  std::vector<Session> sessions;
  for (const std::vector<Adapter>& adapters : sets) {
    alone_logits.push_back(logits_with(model, adapters, ids, 10));
    CHECK(same_bits(logits_with(model, adapters, ids, 1), alone_logits.back()));
    sessions.emplace_back(model, SessionOptions{.context = 64, .adapters = adapters});
  }
  for (size_t begin = 0; begin < ids.size(); begin += 10) {
    std::vector<StepInput> inputs;
    for (Session& session : sessions)
      inputs.push_back({&session, std::span(ids).subspan(begin, 10), Session::Rows::all});
    step(inputs, [&](size_t input, int64_t, std::span<const float> logits) {
      together[input].insert(together[input].end(), logits.begin(), logits.end());
    });
  }
  for (size_t i = 0; i < sets.size(); ++i) CHECK(same_bits(together[i], alone_logits[i]));
}

TEST_CASE("cuda: adapters give their memory back, also while graphs of the model are in use") {
  if (!has_cuda()) return;
  const std::string name = "tiny-qwen2-tied";
  ModelOptions options;
  options.device = Device::cuda();
  const Model model = Model::open(fixture(name), options);
  const std::vector<int32_t> ids = some_ids(model, 6, 1);
  const std::vector<float> expected = logits_with(model, {}, ids, 1);
  size_t before = 0;
  for (int i = 0; i < 3; ++i) {
    logits_with(model, load(model, name, {"all"}), ids, 1);
    CHECK(same_bits(logits_with(model, {}, ids, 1), expected));
    size_t free = 0, total = 0;
    cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    if (i > 0) CHECK(free == before);
    before = free;
  }
}
