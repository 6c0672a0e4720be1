// ModelOptions::exact: the CPU's bits on the device, for whole models.
#include <octet/adapter.h>
#include <octet/embed.h>
#include <octet/quant.h>

#include "lib/io/checkpoint.h"
#include "lib/model/memory_store.h"
#include "lib/model/model_impl.h"
#include "tests/cuda/compare.h"
#include "tests/cuda/device.h"

using namespace octet;
using namespace octet::testing;

namespace {

Model open_exact(const std::string& path, ModelOptions options, const Device& device) {
  options.device = device;
  options.exact = true;
  return Model::open(path, options);
}

/// Of ids as one chunk and cut in several ways.
void check_bits(const std::string& path, const ModelOptions& options, int64_t count) {
  CAPTURE(path);
  CAPTURE(to_string(options.scheme));
  CAPTURE(to_string(options.kv_cache));
  const Model cpu = open_exact(path, options, Device::cpu()),
              cuda = open_exact(path, options, Device::cuda());
  const std::vector<int32_t> ids = some_ids(cpu, count, 1);
  const std::vector<float> expected = alone(cpu, ids);
  for (const size_t chunk : {0, 1, 5, 33}) {
    CAPTURE(chunk);
    CHECK(same_bits(alone(cuda, ids, chunk), expected));
  }
}

}  // namespace

TEST_CASE("cuda: exact logits are the CPU's bit for bit, as a prompt and token by token") {
  if (!has_cuda()) return;
  for (const char* name :
       {"tiny-qwen2", "tiny-qwen2-tied", "tiny-qwen3", "tiny-llama", "tiny-qwen2-distill"})
    for (const Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128}) {
      ModelOptions options;
      options.scheme = scheme;
      check_bits(fixture(name), options, 70);
    }
}

TEST_CASE("cuda: exact logits of inputs in one plane are the CPU's bit for bit") {
  if (!has_cuda()) return;
  ModelOptions options;  // before sm_80 such rows are otherwise multiplied in one kernel
  options.mixed = "off";
  check_bits(fixture("tiny-qwen2"), options, 70);
}

TEST_CASE("cuda: exact logits over an int8 cache are the CPU's bit for bit") {
  if (!has_cuda()) return;
  ModelOptions options;
  options.kv_cache = KvCacheType::int8;
  for (const char* name : {"tiny-qwen2", "tiny-qwen3", "tiny-qwen2-distill"})
    check_bits(fixture(name), options, 70);
}

TEST_CASE("cuda: exact logits of a file as convert makes it are the CPU's bit for bit") {
  if (!has_cuda()) return;
  const TempDir folder;
  for (const Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128}) {
    ConvertOptions options;
    options.scheme = scheme;
    const std::string path = folder.path(to_string(scheme));
    convert(fixture("tiny-qwen2"), path, options);
    check_bits(path, {}, 70);
  }
}

TEST_CASE("cuda: exact logits of a batch of prompts and single tokens are the CPU's bit for bit") {
  if (!has_cuda()) return;
  for (const KvCacheType kv_cache : {KvCacheType::f16, KvCacheType::int8}) {
    CAPTURE(to_string(kv_cache));
    ModelOptions options;
    options.kv_cache = kv_cache;
    const std::string path = fixture("tiny-qwen2-tied");
    const Model cpu = open_exact(path, options, Device::cpu()),
                cuda = open_exact(path, options, Device::cuda());
    std::vector<Session> sessions;
    std::vector<std::vector<int32_t>> ids;
    std::vector<std::vector<float>> got(4);
    for (int64_t i = 0; i < 4; ++i) {
      sessions.emplace_back(cuda, SessionOptions{.context = 256});
      ids.push_back(some_ids(cuda, 5 + 30 * i, i));
    }
    for (int turn = 0; turn < 5; ++turn) {
      std::vector<StepInput> inputs;
      for (size_t i = 0; i < 4; ++i) {
        const auto done = static_cast<size_t>(sessions[i].size());
        const size_t count = std::min(20 * i + 1, ids[i].size() - done);  // of the first one id
        inputs.push_back(
            {&sessions[i], std::span(ids[i]).subspan(done, count), Session::Rows::all});
      }
      step(inputs, [&](size_t input, int64_t, std::span<const float> logits) {
        got[input].insert(got[input].end(), logits.begin(), logits.end());
      });
    }
    for (size_t i = 0; i < 4; ++i) CHECK(same_bits(got[i], alone(cpu, ids[i])));
  }
}

TEST_CASE("cuda: exact embeddings are the CPU's bit for bit") {
  if (!has_cuda()) return;
  const Model cpu = open_exact(fixture("tiny-qwen2"), {}, Device::cpu()),
              cuda = open_exact(fixture("tiny-qwen2"), {}, Device::cuda());
  const std::vector<int32_t> ids = some_ids(cpu, 40, 1);
  CHECK(same_bits(embed(cuda, ids), embed(cpu, ids)));
}

TEST_CASE("cuda: exact is refused where the CPU's bits are not to be had") {
  if (!has_cuda()) return;
  ModelOptions options;
  options.scheme = Scheme::f16;
  CHECK_THROWS_WITH_AS(open_exact(fixture("tiny-qwen2"), options, Device::cuda()),
                       doctest::Contains("exact is for models whose matrices are all int8"), Error);
  const Model model = open_exact(fixture("tiny-qwen2"), {}, Device::cuda());
  CHECK_THROWS_WITH_AS(Adapter::load(model, fixture("lora/tiny-qwen2/all")),
                       doctest::Contains("adapters do not go with exact"), Error);
  ModelConfig config = open_checkpoint(fixture("tiny-qwen3"))->config();
  config.head_dim = 40;
  const Schemes schemes(Scheme::w8a8);
  auto store = std::make_unique<MemoryStore>(stored_tensors(model_tensors(config), schemes));
  options = {};
  options.device = Device::cuda();
  options.exact = true;
  CHECK_THROWS_WITH_AS(make_model(config, schemes, {}, {}, {}, std::move(store), options, {}),
                       doctest::Contains("exact norms heads of 40 dimensions"), Error);
}
