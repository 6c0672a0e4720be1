// Models whose linears have different schemes, on the device against the CPU.
#include <octet/quant.h>

#include "lib/convert/calibration.h"
#include "lib/convert/write_tensors.h"
#include "lib/io/checkpoint.h"
#include "lib/model/memory_store.h"
#include "lib/model/model_impl.h"
#include "tests/cuda/compare.h"
#include "tests/cuda/device.h"
#include "tests/support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

/// A tiny model, not rotated, whose matrices have these schemes and planes.
Model with_schemes(const Device& device, const char* name, const Schemes& schemes,
                   const TwoPlanes& two_planes = {}) {
  const std::unique_ptr<Checkpoint> checkpoint = open_checkpoint(fixture(name));
  const std::vector<ModelTensor> all = model_tensors(checkpoint->config());
  auto store = std::make_unique<MemoryStore>(stored_tensors(all, schemes));
  ModelOptions options;
  options.device = device;
  options.max_rows = 40;  // not whole tiles of rows
  const std::unique_ptr<ThreadPool> pool = make_pool(options);
  TensorWriter(*checkpoint, all, schemes, *store, *pool).write(all, {}, nullptr);
  return make_model(checkpoint->config(), schemes, {}, two_planes, {}, std::move(store), options,
                    {});
}

void check_like_cpu(const Model& cpu, const Model& cuda) {
  const std::vector<int32_t> ids = some_ids(cpu, 40, 1);
  const std::vector<float> expected = alone(cpu, ids);
  for (size_t chunk : {0, 1, 5}) {
    CAPTURE(chunk);
    CHECK(least_cosine(alone(cuda, ids, chunk), expected,
                       static_cast<size_t>(cpu.config().vocab_size)) > 0.999);
  }
}

std::string weight(int64_t layer, const char* linear) {
  return "model.layers." + std::to_string(layer) + "." + linear + ".weight";
}

}  // namespace

TEST_CASE("cuda: every linear may have a scheme of its own") {
  if (!has_cuda()) return;
  Schemes schemes(Scheme::w8a8);
  TwoPlanes two_planes = {weight(0, "self_attn.k_proj"), weight(1, "self_attn.v_proj"),
                          weight(1, "mlp.down_proj")};
  const auto set = [&](int64_t layer, const char* linear, Scheme scheme) {
    schemes.others[weight(layer, linear)] = scheme;
  };
  set(0, "self_attn.o_proj", Scheme::w8a8_g128);
  set(0, "mlp.down_proj", Scheme::f16);
  set(1, "self_attn.v_proj", Scheme::w8a8_g128);
  set(1, "mlp.gate_proj", Scheme::f16);
  set(1, "mlp.up_proj", Scheme::f16);
  set(2, "self_attn.q_proj", Scheme::f16);
  set(2, "self_attn.v_proj", Scheme::w8a8_g128);
  set(2, "self_attn.o_proj", Scheme::f16);
  set(2, "mlp.up_proj", Scheme::f16);
  set(3, "mlp.up_proj", Scheme::w8a8_g128);
  schemes.others["lm_head.weight"] = Scheme::f16;
  check_like_cpu(with_schemes(Device::cpu(), "tiny-qwen2", schemes, two_planes),
                 with_schemes(Device::cuda(), "tiny-qwen2", schemes, two_planes));
  // A head that is the embedding takes planes of its own.
  two_planes = {"lm_head.weight"};
  check_like_cpu(with_schemes(Device::cpu(), "tiny-qwen2-tied", Scheme::w8a8, two_planes),
                 with_schemes(Device::cuda(), "tiny-qwen2-tied", Scheme::w8a8, two_planes));
}

TEST_CASE("cuda: fp16 models") {
  if (!has_cuda()) return;
  for (const char* name : {"tiny-qwen2-tied", "tiny-qwen3"})
    check_like_cpu(with_schemes(Device::cpu(), name, Scheme::f16),
                   with_schemes(Device::cuda(), name, Scheme::f16));
}

TEST_CASE("cuda: rows of an fp16 model do not depend on what else is in the step") {
  if (!has_cuda()) return;
  const Model model = with_schemes(Device::cuda(), "tiny-qwen2", Scheme::f16);
  const std::vector<int32_t> ids = some_ids(model, 48, 2);
  const std::vector<float> single = alone(model, ids, 1);
  for (size_t chunk : {2, 7, 16}) CHECK(same_bits(alone(model, ids, chunk), single));
}

TEST_CASE("cuda: files as convert makes them by default, searched for what to mix") {
  if (!has_cuda()) return;
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("source"));
  ConvertOptions options;
  options.calibration = Calibrate::text;
  options.calibration_text = std::string(calibration_text().substr(0, 1000));
  options.budget = 1;
  const double one_plane = convert(folder.path("source"), folder.path("one"), options).mixed.kl;
  bool groups = false, f16 = false, planes = false;
  for (const double share : {0.6, 0.2, 0.1}) {
    options.budget = share * one_plane;
    const std::string path = folder.path(std::to_string(share));
    convert(folder.path("source"), path, options);
    const FileInfo info = inspect(path);
    CHECK(info.rotated);
    planes |= !info.two_planes.empty();
    for (const FileInfo::OtherScheme& other : info.other_schemes)
      (other.scheme == "f16" ? f16 : groups) = true;
    CAPTURE(share);
    const auto open = [&](const Device& device) {
      ModelOptions model;
      model.device = device;
      return Model::open(path, model);
    };
    check_like_cpu(open(Device::cpu()), open(Device::cuda()));
  }
  CHECK(groups);
  CHECK(planes);
  CHECK(f16);
}
