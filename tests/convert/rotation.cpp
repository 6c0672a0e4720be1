// Rotated weights: the same function in float, another file format, and less error in int8.
#include <octet/quant.h>

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "kernels/table.h"
#include "lib/convert/rotated_checkpoint.h"
#include "lib/convert/scaled_checkpoint.h"
#include "lib/model/octet_file.h"
#include "quant/rotation.h"
#include "support/evaluate.h"
#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;

namespace {

const char* const tiny_models[] = {"tiny-qwen2", "tiny-qwen2-tied", "tiny-qwen2-distill",
                                   "tiny-llama", "tiny-qwen3",      "tiny-qwen2-yarn"};

std::vector<float> logits_of(const std::string& path, Scheme scheme, Rotation rotation) {
  ModelOptions options;
  options.scheme = scheme;
  options.rotation = rotation;
  options.threads = 2;
  const Model model = Model::open(path, options);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 40; ++i) ids.push_back((i * i * 31 + i * 7) % 250);
  Session session(model, {.context = 64});
  return all_logits(session, ids);
}

}  // namespace

TEST_CASE("in float the rotated model is the same function, for every shape and family") {
  for (const char* name : tiny_models) {
    CAPTURE(name);
    const std::vector<float> plain = logits_of(fixture(name), Scheme::f32, Rotation::off);
    const std::vector<float> rotated = logits_of(fixture(name), Scheme::f32, Rotation::on);
    const double difference = max_difference(plain, rotated);
    MESSAGE(name, ": logits up to ", max_magnitude(plain), " differ by ", difference);
    CHECK(difference <= 1e-4);
    CHECK(difference > 0);  // it is rotated at all
  }
}

TEST_CASE("the rotation matrices are symmetric, orthogonal and spread every channel") {
  for (int64_t size : {1, 2, 6, 7, 32, 64, 172, 192, 576, 896, 1003, 1536}) {
    CAPTURE(size);
    const quant::Rotation rotation(size, kernels::hadamard_f32_ref);
    const auto n = static_cast<size_t>(size);
    std::vector<float> r(n * n);  // each row a unit vector, times R
    for (size_t i = 0; i < n; ++i) r[i * n + i] = 1;
    rotation.apply(r.data(), size);
    double worst_product = 0, worst_symmetry = 0, largest = 0;
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j) {
        worst_symmetry = std::max(worst_symmetry, std::abs(double{r[i * n + j]} - r[j * n + i]));
        largest = std::max(largest, std::abs(double{r[i * n + j]}));
        if (i % 37 != 0) continue;  // some rows against all
        double product = 0;
        for (size_t k = 0; k < n; ++k) product += double{r[i * n + k]} * r[j * n + k];
        worst_product = std::max(worst_product, std::abs(product - (i == j ? 1 : 0)));
      }
    CHECK(worst_symmetry < 1e-6);
    CHECK(worst_product < 1e-6);
    if (size != 1003) CHECK(largest <= std::sqrt(2.0 / static_cast<double>(size)) * 1.0001);

    // The columns of a matrix wider than a strip: R W, by the definition.
    constexpr size_t width = 21;
    std::vector<float> w(n * width);
    for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i * 7919 % 1000) / 500 - 1;
    std::vector<float> got = w;
    rotation.apply_to_columns(got.data(), width, 2, width - 1);
    double worst = 0;
    for (size_t row = 0; row < n; row += 11)
      for (size_t c = 0; c < width; ++c) {
        double expected = 0;
        for (size_t k = 0; k < n; ++k) expected += double{r[row * n + k]} * w[k * width + c];
        if (c < 2 || c == width - 1) expected = w[row * width + c];
        worst = std::max(worst, std::abs(expected - got[row * width + c]));
      }
    CHECK(worst < 2e-6);
  }
}

TEST_CASE("a rotated file says so in its format, and opens as what it is") {
  const TempDir folder;
  const std::string path = folder.path("m");
  ConvertOptions options;
  options.scheme = Scheme::f32;
  options.rotation = Rotation::on;
  convert(fixture("tiny-qwen2-tied"), path, options);
  const auto file = OctetFile::open(path);
  CHECK(file->tensors().metadata.at("octet.format") == "2");
  CHECK(file->tensors().metadata.at("octet.rotation") == R"({"down":8,"head":32,"hidden":192})");
  CHECK(file->tensors().find("lm_head.weight") != nullptr);
  CHECK(inspect(path).rotated);
  CHECK(logits_of(path, Scheme::f32, Rotation::automatic) ==
        logits_of(fixture("tiny-qwen2-tied"), Scheme::f32, Rotation::on));

  options.rotation = Rotation::automatic;
  convert(fixture("tiny-qwen2-tied"), path, options);
  CHECK(OctetFile::open(path)->tensors().metadata.at("octet.format") == "1");
  CHECK_FALSE(inspect(path).rotated);
}

TEST_CASE("a rotation that does not fit the model is an error") {
  const ModelConfig config = open_checkpoint(fixture("tiny-qwen2-tied"))->config();
  const RotationSizes sizes = rotation_sizes(config);
  const RotationSizes read = rotation_from_json(rotation_to_json(sizes), config, "f");
  CHECK(read.hidden == 192);
  CHECK(read.head == 32);
  CHECK(read.down == 8);
  CHECK(read.norm == 1);
  const RotationSizes scaled = scaled_rotation_sizes(config);
  CHECK(scaled.norm == 64);
  CHECK(rotation_from_json(rotation_to_json(scaled), config, "f").norm == 64);
  for (const char* bad :
       {"", "[]", "{}", R"({"hidden": 192, "head": 32})",
        R"({"hidden": 100, "head": 32, "down": 8})", R"({"hidden": 192, "head": -32, "down": 8})",
        R"({"hidden": 192, "head": 32, "down": 16})", R"({"hidden": 192, "head": 32, "down": 13})",
        R"({"hidden": 192, "head": 32, "down": 0})", R"({"hidden": 192, "head": 32, "down": "8"})",
        R"({"hidden": 1, "head": 32, "down": 8, "norm": 3})",
        R"({"hidden": 1, "head": 32, "down": 8, "norm": 128})",
        R"({"hidden": 1, "head": 32, "down": 8, "norm": 0})"}) {
    CAPTURE(bad);
    try {
      rotation_from_json(bad, config, "some file");
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::InvalidFile);
      CHECK(std::string(error.what()).find("some file") == 0);
    }
  }
}

TEST_CASE("a value that is not finite is named by its place in the source, rotated or not") {
  const TempDir folder;
  std::filesystem::copy(fixture("tiny-qwen2-yarn"), folder.path("m"),
                        std::filesystem::copy_options::recursive);
  const MappedFile original(folder.path("m/model.safetensors"));
  const Safetensors tensors = parse_safetensors(original.bytes(), "m");
  const SafetensorsEntry* down = tensors.find("model.layers.1.mlp.down_proj.weight");  // [64, 172]
  REQUIRE(down->dtype == "F32");
  std::string bytes(reinterpret_cast<const char*>(original.bytes().data()),
                    original.bytes().size());
  const auto at = static_cast<size_t>(down->data.data() - original.bytes().data());
  const float bad = INFINITY;
  bytes.replace(at + 4 * (5 * 172 + 9), 4, reinterpret_cast<const char*>(&bad), 4);
  std::ofstream(folder.path("m/model.safetensors"), std::ios::binary) << bytes;
  for (Rotation rotation : {Rotation::off, Rotation::on}) {
    ConvertOptions options;
    options.rotation = rotation;
    try {
      convert(folder.path("m"), folder.path("out"), options);
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::InvalidFile);
      CHECK(std::string(error.what()).find("down_proj.weight', row 5, column 9: inf") !=
            std::string::npos);
    }
  }
}
