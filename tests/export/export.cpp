// Models written for other programs, read back by octet's own readers and compared bit by bit where
// nothing is to be lost.
#include <octet/export_model.h>
#include <octet/quant.h>

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/io/checkpoint.h"
#include "lib/io/gguf.h"
#include "lib/model/octet_file.h"
#include "support/evaluate.h"
#include "support/fixtures.h"
#include "support/text_model.h"
#include "support/w8a8_fixture.h"

using namespace octet;
using namespace octet::testing;
using nlohmann::json;

namespace {

const std::vector<int32_t> prompt_ids = {5, 190, 17, 3, 44, 12, 200, 8, 9, 10, 11, 250, 31};

std::vector<float> logits_of(const std::string& path, Scheme scheme) {
  const Model model = open_model(path, scheme);
  Session session(model, {.context = 16});
  return all_logits(session, prompt_ids);
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  return max_difference(a, b) / max_magnitude(b);
}

std::string converted(const TempDir& folder, const std::string& model, Scheme scheme,
                      Rotation rotation = Rotation::folded) {
  ConvertOptions options;
  options.scheme = scheme;
  options.rotation = rotation;
  options.mixed = "off";
  options.calibration = Calibrate::off;
  const std::string file = folder.path(model + ".octet.safetensors");
  convert(fixture(model), file, options);
  return file;
}

ErrorCode code_of(const std::string& source, const std::string& output,
                  const ExportOptions& options, const std::string& reason) {
  try {
    export_model(source, output, options);
  } catch (const Error& error) {
    CAPTURE(std::string(error.what()));
    CHECK(std::string(error.what()).find(reason) != std::string::npos);
    return error.code();
  }
  return ErrorCode::Internal;
}

json read(const std::string& path) {
  return json::parse(std::ifstream(path));
}

size_t files_in(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

}  // namespace

TEST_CASE("compressed-tensors to octet and back: the same bits") {
  const TempDir folder;
  const std::string file = folder.path("m.safetensors"), back = folder.path("back");
  convert(w8a8_fixture(), file, {});
  for (const auto& source : {file, w8a8_fixture()}) {
    std::filesystem::remove_all(back);
    // The fixture's float tensors are bf16; what octet made of them, fp16.
    const ExportReport report = export_model(
        source, back,
        {ExportFormat::compressed_tensors, source == file ? ExportType::f32 : ExportType::bf16});
    CHECK(report.int8_linears == 28);
    CHECK(same_bits(logits_of(back, Scheme::w8a8), logits_of(file, Scheme::w8a8)));
    const json config = read(back + "/config.json");
    CHECK(config["quantization_config"]["ignore"] == json::array({"lm_head"}));
    CHECK(config["architectures"] == json::array({"Qwen2ForCausalLM"}));
  }
  std::filesystem::remove_all(back);
}

TEST_CASE("octet's own int8 weights and scales are kept by compressed-tensors, every bit") {
  for (const char* model : {"tiny-qwen2-tied", "tiny-qwen3"}) {
    CAPTURE(model);
    const TempDir folder;
    const std::string file = converted(folder, model, Scheme::w8a8), out = folder.path("out");
    export_model(file, out);
    const std::string again = folder.path("again.safetensors");
    convert(out, again, {});
    const auto before = OctetFile::open(file), after = OctetFile::open(again);
    const auto checkpoint = open_checkpoint(out);
    int64_t linears = 0;
    for (const ModelTensor& tensor : model_tensors(before->header().config)) {
      if (!checkpoint->is_quantized(tensor.name)) continue;
      ++linears;
      for (const StoredTensor& part : stored_tensors({&tensor, 1}, Scheme::w8a8))
        CHECK(std::memcmp(before->data(part), after->data(part), part.bytes()) == 0);
    }
    CHECK(linears == 7 * before->header().config.num_layers);
    // The embedding's rows are the same numbers; the head's input is not rounded any more.
    CHECK(relative_difference(logits_of(again, Scheme::w8a8), logits_of(file, Scheme::w8a8)) <
          0.05);
  }
}

TEST_CASE("hf: float weights are the same function, rotations included") {
  for (const char* model : {"tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen2-yarn"}) {
    CAPTURE(model);
    const TempDir folder;
    const std::vector<float> reference = logits_of(fixture(model), Scheme::f32);
    export_model(fixture(model), folder.path("plain"), {ExportFormat::hf, ExportType::f32});
    CHECK(relative_difference(logits_of(folder.path("plain"), Scheme::f32), reference) < 1e-6);
    // R4, too, is undone: nothing has to be done at run time.
    const std::string rotated = converted(folder, model, Scheme::f32, Rotation::on);
    export_model(rotated, folder.path("rotated"), {ExportFormat::hf, ExportType::f32});
    CHECK(relative_difference(logits_of(folder.path("rotated"), Scheme::f32), reference) < 1e-4);
  }
}

TEST_CASE("hf: an int8 model is multiplied out; bf16 and f16 round to nearest") {
  const TempDir folder;
  const std::string file = converted(folder, "tiny-qwen2-tied", Scheme::w8a8_g128, Rotation::on);
  export_model(file, folder.path("f32"), {ExportFormat::hf, ExportType::f32});
  const std::vector<float> reference = logits_of(folder.path("f32"), Scheme::f32);
  CHECK(relative_difference(reference, logits_of(fixture("tiny-qwen2-tied"), Scheme::f32)) < 0.1);
  export_model(file, folder.path("bf16"), {ExportFormat::hf});
  CHECK(relative_difference(logits_of(folder.path("bf16"), Scheme::f32), reference) < 0.05);
  export_model(file, folder.path("f16"), {ExportFormat::hf, ExportType::f16});
  CHECK(relative_difference(logits_of(folder.path("f16"), Scheme::f32), reference) < 0.005);
  const auto full = open_checkpoint(folder.path("f32")),
             half = open_checkpoint(folder.path("bf16"));
  std::vector<float> wide(192), narrow(192);
  full->read_rows("model.layers.1.mlp.up_proj.weight", 7, 8, wide.data());
  half->read_rows("model.layers.1.mlp.up_proj.weight", 7, 8, narrow.data());
  for (size_t i = 0; i < wide.size(); ++i)
    CHECK(std::abs(narrow[i] - wide[i]) <= std::abs(wide[i]) / 256);
}

TEST_CASE("gguf: f16 and q8_0, q and k of a llama in llama.cpp's order") {
  // The fixture's weights are bf16 numbers that fp16 holds but for the smallest.
  for (const char* model : {"tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen2-tied"}) {
    CAPTURE(model);
    const TempDir folder;
    const std::vector<float> reference = logits_of(fixture(model), Scheme::f32);
    const std::string f16 = folder.path("f16.gguf"), q8 = folder.path("q8.gguf");
    export_model(fixture(model), f16, {ExportFormat::gguf, ExportType::f16});
    CHECK(relative_difference(logits_of(f16, Scheme::f32), reference) < 1e-4);
    export_model(fixture(model), q8, {ExportFormat::gguf});
    const double off = relative_difference(logits_of(q8, Scheme::f32), reference);
    CHECK(off < 0.05);
    CHECK(off > 1e-4);
  }
}

TEST_CASE("gguf: a llama's q has rows i and i + head_dim / 2 of a head beside each other") {
  const TempDir folder;
  const std::string path = folder.path("m.gguf");
  export_model(fixture("tiny-llama"), path, {ExportFormat::gguf, ExportType::f16});
  const auto source = open_checkpoint(fixture("tiny-llama"));
  const MappedFile file(path);
  const Gguf gguf(file.bytes(), path);
  const int64_t k = 256, head_dim = 64;
  std::vector<float> stored(k), wanted(k);
  for (const GgufTensor& tensor : gguf.tensors()) {
    if (tensor.name != "blk.0.attn_q.weight") continue;
    for (int64_t row : {0, 1, 2, 63, 64, 65, 255}) {
      const int64_t in_head = row % head_dim;
      const int64_t from = row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
      tensor.type->to_f32(tensor.data.data() + row * k * 2, k, stored.data());
      source->read_rows("model.layers.0.self_attn.q_proj.weight", from, from + 1, wanted.data());
      CHECK(max_difference(stored, wanted) < 1e-6);
      CHECK(max_magnitude(wanted) > 0.01);
    }
  }
}

TEST_CASE("a model with its tokenizer and template: every format gives the same ids and text") {
  const TempDir folder;
  const std::string source = folder.path("source"), file = folder.path("m.safetensors");
  make_text_model("tiny-qwen2", source);
  ConvertOptions options;
  options.rotation = Rotation::folded;
  options.calibration = Calibrate::off;
  convert(source, file, options);
  const ExportReport report = export_model(file, folder.path("ct"));
  CHECK(report.notes.size() == 2);  // head and embedding; two planes of k and v
  export_model(file, folder.path("hf"), {ExportFormat::hf});
  const std::string text = "<|im_start|>user\nGrüße, 世界! 17 * 24<|im_end|>";
  const std::vector<int32_t> ids = Tokenizer::open(source).encode(text);
  for (const char* name : {"ct", "hf"}) {
    CAPTURE(name);
    const std::string out = folder.path(name);
    CHECK(Tokenizer::open(out).encode(text) == ids);
    const std::vector<ChatMessage> messages = {{"user", "hello"}};
    CHECK(ChatFormat::open(out).render(messages, true) ==
          ChatFormat::open(source).render(messages, true));
    CHECK(open_checkpoint(out)->config().eos_ids == std::vector<int32_t>{257});
  }
}

TEST_CASE("what a format cannot express is refused, and nothing is left behind") {
  const TempDir folder;
  const std::string rotated = converted(folder, "tiny-qwen2-tied", Scheme::w8a8, Rotation::on);
  const std::string out = folder.path("out");
  const size_t before = files_in(folder.path());
  constexpr auto unsupported = ErrorCode::Unsupported, argument = ErrorCode::InvalidArgument;
  CHECK(code_of(rotated, out, {}, "--rotate folded") == unsupported);
  CHECK(code_of(fixture("tiny-qwen2"), out, {}, "no linear of a layer is int8") == argument);
  CHECK(code_of(rotated, out, {ExportFormat::hf, ExportType::q8_0}, "q8_0") == argument);
  CHECK(code_of(rotated, out, {ExportFormat::gguf, ExportType::f32}, "gguf") == argument);
  CHECK(code_of(rotated, folder.path("none/out"), {ExportFormat::hf},
                "none/out: cannot create: No such file") == ErrorCode::Io);
  CHECK(files_in(folder.path()) == before);

  std::filesystem::create_directory(out);
  std::ofstream(out + "/mine") << "kept";
  CHECK(code_of(rotated, out, {ExportFormat::hf}, "not an empty directory") == ErrorCode::Io);
  CHECK(files_in(out) == 1);

  const auto cancel = [](void*, int64_t, int64_t) { return false; };
  for (ExportFormat format : {ExportFormat::hf, ExportFormat::gguf})
    CHECK_THROWS_AS(
        export_model(fixture("tiny-qwen2"), folder.path("cancelled"), {format}, {cancel, nullptr}),
        Error);
  CHECK(files_in(folder.path()) == before + 1);

  const std::string grouped = converted(folder, "tiny-qwen3", Scheme::w8a8_g128);
  CHECK(code_of(grouped, folder.path("g"), {}, "w8a8-g128") == unsupported);
}
