#include <octet/quant.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "lib/model/octet_file.h"
#include "support/evaluate.h"
#include "support/files.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

std::vector<float> logits_of(const std::string& path, Scheme scheme) {
  const Model model = open_model(path, scheme);
  CHECK(model.scheme() == scheme);
  const std::vector<int32_t> ids = {1, 5, 17, 200, 3, 99};
  Session session(model, {.context = 16});
  return all_logits(session, ids);
}

ConvertOptions with(Scheme scheme, int threads = 2) {
  ConvertOptions options;
  options.scheme = scheme;
  options.threads = threads;
  return options;
}

/// The root mean square of the difference over that of the reference.
double relative_error(const std::vector<float>& got, const std::vector<float>& reference) {
  REQUIRE(got.size() == reference.size());
  double error = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - reference[i], 2);
    size += std::pow(static_cast<double>(reference[i]), 2);
  }
  return std::sqrt(error / size);
}

}  // namespace

TEST_CASE("a converted file gives bit for bit what quantizing while loading gives") {
  TempDir folder;
  for (const char* source : {"tiny-qwen2-tied", "tiny-qwen3", "gguf/tiny-llama-1l-mixed.gguf"})
    for (Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128, Scheme::f16, Scheme::f32}) {
      CAPTURE(source);
      CAPTURE(to_string(scheme));
      const std::string output = folder.path("out.safetensors");
      convert(fixture(source), output, with(scheme));
      const std::vector<float> from_file = logits_of(output, scheme);
      const std::vector<float> from_source = logits_of(fixture(source), scheme);
      REQUIRE(from_file.size() == from_source.size());
      CHECK(std::memcmp(from_file.data(), from_source.data(), 4 * from_file.size()) == 0);
    }
}

TEST_CASE("the int8 schemes stay near fp32, groups nearer") {
  for (const char* source : {"tiny-qwen2", "tiny-qwen2-distill", "tiny-llama"}) {
    CAPTURE(source);
    const std::vector<float> reference = logits_of(fixture(source), Scheme::f32);
    const double f16 = relative_error(logits_of(fixture(source), Scheme::f16), reference);
    const double w8a8 = relative_error(logits_of(fixture(source), Scheme::w8a8), reference);
    const double grouped = relative_error(logits_of(fixture(source), Scheme::w8a8_g128), reference);
    MESSAGE(source, ": relative error f16 ", f16, ", w8a8 ", w8a8, ", w8a8-g128 ", grouped);
    CHECK(f16 < 2e-3);
    CHECK(w8a8 < 0.06);
    CHECK(grouped < 0.06);
    CHECK(w8a8 > 1e-4);  // it is quantized at all
  }
}

TEST_CASE("conversion writes the same bytes whatever the number of threads") {
  TempDir folder;
  convert(fixture("tiny-qwen2-tied"), folder.path("a"), with(Scheme::w8a8_g128, 1));
  convert(fixture("tiny-qwen2-tied"), folder.path("b"), with(Scheme::w8a8_g128, 3));
  CHECK(content(folder.path("a")) == content(folder.path("b")));
}

TEST_CASE("a converted file says what it is, and its tensors start on 64-byte boundaries") {
  TempDir folder;
  make_text_model("tiny-qwen2", folder.path("source"));
  const std::string path = folder.path("out.safetensors");
  const ConvertReport report = convert(folder.path("source"), path, with(Scheme::w8a8));
  CHECK(report.output_bytes == std::filesystem::file_size(path));
  const auto file = OctetFile::open(path);
  REQUIRE(file);
  CHECK(file->tensors().metadata.at("octet.format") == "3");  // calibrated: scaled inputs
  CHECK(file->tensors().metadata.at("octet.scheme") == "w8a8");
  const MappedFile mapped(path);
  const Safetensors parsed = parse_safetensors(mapped.bytes(), path);
  for (const SafetensorsEntry& entry : parsed.tensors)
    CHECK((entry.data.data() - mapped.bytes().data()) % 64 == 0);
  const FileInfo info = inspect(path);
  CHECK(info.format == "octet 3");
  CHECK(info.has_tokenizer);
  CHECK(info.has_chat_template);
  const Model model = Model::open(path);
  CHECK(model.config().eos_ids == std::vector<int32_t>{257});
  CHECK(model.tokenizer().encode("ab<|im_end|>") ==
        open_model(folder.path("source"), Scheme::w8a8).tokenizer().encode("ab<|im_end|>"));
}

TEST_CASE("a cancelled or failed conversion leaves nothing behind") {
  TempDir folder;
  const Progress cancel{[](void*, int64_t, int64_t) { return false; }, nullptr};
  try {
    convert(fixture("tiny-qwen2"), folder.path("out"), with(Scheme::w8a8), cancel);
    FAIL("not cancelled");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::Cancelled);
  }
  CHECK(std::filesystem::is_empty(folder.path()));
  CHECK_THROWS_AS(convert(fixture("tiny-qwen2"), folder.path("no/such/folder/out")), Error);
  CHECK_THROWS_AS(convert(folder.path("missing"), folder.path("out")), Error);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("damaged converted files are errors") {
  TempDir folder;
  const std::string good = folder.path("good");
  convert(fixture("tiny-qwen2-tied"), good, with(Scheme::w8a8));
  CHECK_THROWS_AS(convert(good, folder.path("again")), Error);
  const std::string bytes = content(good);
  const auto code_of = [&](const std::string& changed) {
    const std::string path = folder.path("bad");
    std::ofstream(path, std::ios::binary) << changed;
    try {
      Model::open(path);
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(path) != std::string::npos);
      return error.code();
    }
    return ErrorCode::Internal;
  };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = bytes;
    const size_t at = changed.find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(from.size() == to.size());
    return changed.replace(at, from.size(), to);
  };
  CHECK(code_of(bytes.substr(0, bytes.size() - 1)) == ErrorCode::InvalidFile);
  CHECK(code_of(bytes.substr(0, 100)) == ErrorCode::InvalidFile);
  CHECK(code_of(replaced("\"octet.format\":\"2\"", "\"octet.format\":\"4\"")) ==
        ErrorCode::Unsupported);
  CHECK(code_of(replaced("\"octet.scheme\":\"w8a8\"", "\"octet.scheme\":\"w4a4\"")) ==
        ErrorCode::Unsupported);
  CHECK(code_of(replaced("model.norm.weight", "model.morm.weight")) == ErrorCode::InvalidFile);
  CHECK(code_of(replaced("\"hidden_size\\\":192", "\"hidden_size\\\":191")) ==
        ErrorCode::InvalidFile);
  CHECK(code_of(replaced("\"hidden_size\\\":192", "\"hidden_size\\\":-92")) ==
        ErrorCode::InvalidFile);
}
