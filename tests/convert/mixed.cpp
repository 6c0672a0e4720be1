// --mixed auto: what it measures and chooses, on models made to need it.
#include <octet/quant.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "lib/convert/calibration.h"
#include "lib/io/safetensors.h"
#include "lib/model/octet_file.h"
#include "support/divergence.h"
#include "support/files.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

/// Multiplies BF16 values by a power of two, in place.
void scale_bf16(char* values, int64_t count, int64_t step, int exponent) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, values + 2 * i * step, 2);
    if (bits & 0x7f80) bits = static_cast<uint16_t>(bits + exponent * 128);
    std::memcpy(values + 2 * i * step, &bits, 2);
  }
}

/// Three channels of each down_proj's input 1,024 times as large, its columns for them a 1,024th.
void make_massive(const std::string& folder) {
  const std::string path = folder + "/model.safetensors";
  std::string bytes = content(path);
  const Safetensors file = parse_safetensors(std::as_bytes(std::span(bytes)), path);
  for (int layer = 0; layer < 4; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".mlp.";
    const SafetensorsEntry* up = file.find(prefix + "up_proj.weight");      // [704, 256]
    const SafetensorsEntry* down = file.find(prefix + "down_proj.weight");  // [256, 704]
    REQUIRE(up->dtype == "BF16");
    const auto at = [&](const SafetensorsEntry* entry) {
      return bytes.data() + (reinterpret_cast<const char*>(entry->data.data()) - bytes.data());
    };
    for (int64_t channel : {17, 300, 703}) {
      scale_bf16(at(up) + 2 * channel * 256, 256, 1, 10);
      scale_bf16(at(down) + 2 * channel, 256, 704, -10);
    }
  }
  std::ofstream(path, std::ios::binary) << bytes;
}

/// What `octet eval --layers` says of the embedding: measured for real, at other positions.
double kl_of_embedding(const std::string& model, const std::string& source, std::string_view text) {
  TextPieces pieces(text);
  for (const LinearReport& linear :
       evaluate_linears(model, source, pieces, {.context = 256, .max_tokens = 2048}, 2))
    if (linear.weight == "model.embed_tokens.weight") return linear.kl;
  return 0;
}

ConvertOptions plain() {
  ConvertOptions options;
  options.rotation = Rotation::off;
  options.calibration = Calibrate::off;
  options.mixed = "off";
  return options;
}

}  // namespace

TEST_CASE("massive activations ruin plain int8, and not what convert makes by default") {
  const TempDir folder;
  const std::string source = folder.path("source");
  make_text_model("tiny-qwen2", source);
  make_massive(source);
  const Model reference = open_model(source, Scheme::f32);
  convert(source, folder.path("plain"), plain());
  const ConvertReport report = convert(source, folder.path("auto"));
  const double before = kl(Model::open(folder.path("plain")), reference, other_text());
  const double after = kl(Model::open(folder.path("auto")), reference, other_text());
  MESSAGE("KL ", before, " plain, ", after, " by default, ", report.mixed.kl, " as it reports, ",
          100 * report.mixed.one_plane_share, " % in one plane");
  CHECK(before > 0.05);
  CHECK(after <= 0.003);
  CHECK(report.mixed.tokens > 100);
}

TEST_CASE("a smaller budget mixes more linears, the file records them, and the KL follows") {
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("source"));
  ConvertOptions options;
  options.calibration = Calibrate::text;
  options.calibration_text = std::string(calibration_text().substr(0, 2000));
  options.budget = 1;
  const ConvertReport all = convert(folder.path("source"), folder.path("all"), options);
  CHECK(all.mixed.linears.size() == 4 * 7 + 1);
  CHECK(all.mixed.one_plane_share == 1);
  CHECK(inspect(folder.path("all")).two_planes.empty());
  CHECK(all.mixed.kl == doctest::Approx(all.mixed.kl_one_plane).epsilon(0.2));

  options.budget = 0.6 * all.mixed.kl;
  const ConvertReport some = convert(folder.path("source"), folder.path("some"), options);
  const FileInfo info = inspect(folder.path("some"));
  const auto mixed = std::count_if(some.mixed.linears.begin(), some.mixed.linears.end(),
                                   [](const auto& l) { return l.form != "w8a8"; });
  MESSAGE("KL ", all.mixed.kl, ", with ", mixed, " linears mixed ", some.mixed.kl, ", expected ",
          some.mixed.kl_expected);
  CHECK(mixed > 0);
  CHECK(info.two_planes.size() + info.other_schemes.size() == static_cast<size_t>(mixed));
  CHECK(some.mixed.kl + some.mixed.kl_error <= options.budget);

  options.budget = 1e-9;  // everything fp16, but the embedding
  const ConvertReport none = convert(folder.path("source"), folder.path("none"), options);
  CHECK(inspect(folder.path("none")).other_schemes.size() == 4 * 7 + 1);
  CHECK(none.mixed.one_plane_share == 0);
  const double left =
      kl_of_embedding(folder.path("all"), folder.path("source"), options.calibration_text);
  MESSAGE("KL ", none.mixed.kl, " with all linears in fp16, the embedding's alone ", left);
  CHECK(none.mixed.kl == doctest::Approx(left).epsilon(0.2));

  options.budget = 1.1 * (none.mixed.kl + none.mixed.kl_error);  // two planes everywhere miss it
  const ConvertReport nearly = convert(folder.path("source"), folder.path("nearly"), options);
  MESSAGE("KL ", nearly.mixed.kl, " +- ", nearly.mixed.kl_error, " of ", options.budget);
  CHECK(nearly.mixed.kl + nearly.mixed.kl_error <= options.budget);
}

TEST_CASE("the search gives the same file whatever the number of threads") {
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("source"));
  ConvertOptions options;
  options.calibration = Calibrate::text;
  options.calibration_text = std::string(calibration_text().substr(0, 1000));
  options.budget = 1;
  const double one_plane = convert(folder.path("source"), folder.path("all"), options).mixed.kl;
  for (double budget : {0.5 * one_plane, 1e-4}) {
    options.budget = budget;
    for (int threads : {1, 3}) {
      options.threads = threads;
      convert(folder.path("source"), folder.path(std::to_string(threads)), options);
    }
    const FileInfo info = inspect(folder.path("1"));
    CHECK(info.other_schemes.size() > 0);
    // Inputs that several linears have are quantized once.
    for (const FileInfo::OtherScheme& other : info.other_schemes)
      CHECK((other.scheme != "w8a8-g128" || other.weight.ends_with("o_proj.weight") ||
             other.weight.ends_with("down_proj.weight") || other.weight == "lm_head.weight"));
    CHECK(content(folder.path("1")) == content(folder.path("3")));
  }
}

TEST_CASE("auto without calibration is the default of loading") {
  const TempDir folder;
  ConvertOptions options;
  options.calibration = Calibrate::off;
  const ConvertReport report = convert(fixture("tiny-qwen2"), folder.path("m"), options);
  CHECK(report.mixed.tokens == 0);
  CHECK(inspect(folder.path("m")).two_planes.size() == 8);  // k and v
}
