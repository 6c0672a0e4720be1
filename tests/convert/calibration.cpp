// Conversion with calibration: nearer to fp32, deterministic, and clear about what it cannot use.
#include "lib/convert/calibration.h"

#include <octet/quant.h>

#include <doctest/doctest.h>

#include "support/divergence.h"
#include "support/evaluate.h"
#include "support/files.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

ErrorCode code_of(const std::string& source, const std::string& output,
                  const ConvertOptions& options) {
  try {
    convert(source, output, options);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::Internal;
}

}  // namespace

TEST_CASE("weights rounded for calibration text lose less, in both int8 schemes") {
  const TempDir folder;
  const std::string source = folder.path("source"), output = folder.path("out");
  make_text_model("tiny-qwen2", source);
  const Model reference = open_model(source, Scheme::f32);
  for (Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128}) {
    CAPTURE(to_string(scheme));
    double loss[2] = {};
    for (Calibrate calibration : {Calibrate::off, Calibrate::builtin}) {
      ConvertOptions options;
      options.scheme = scheme;
      options.calibration = calibration;
      const ConvertReport report = convert(source, output, options);
      const bool calibrated = calibration == Calibrate::builtin;
      CHECK(report.calibration_tokens == (calibrated ? 8192 : 0));
      loss[calibrated] = kl(Model::open(output), reference, other_text());
    }
    MESSAGE(to_string(scheme), ": KL ", loss[0], " rounded to nearest, ", loss[1], " calibrated");
    CHECK(loss[1] < 0.85 * loss[0]);
  }
}

TEST_CASE("a calibrated file has the same bytes whatever the number of threads") {
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("source"));
  ConvertOptions options;
  options.calibration = Calibrate::text;
  options.calibration_text = std::string(calibration_text().substr(0, 700));
  for (int threads : {1, 3}) {
    options.threads = threads;
    convert(folder.path("source"), folder.path(std::to_string(threads)), options);
  }
  CHECK(content(folder.path("1")) == content(folder.path("3")));
  options.calibration = Calibrate::off;
  convert(folder.path("source"), folder.path("nearest"), options);
  CHECK(content(folder.path("nearest")) != content(folder.path("1")));
}

TEST_CASE("calibration without a tokenizer, or with a text it cannot use") {
  const TempDir folder;
  const std::string source = folder.path("source"), output = folder.path("out");
  make_text_model("tiny-qwen2", source);
  ConvertOptions options;
  CHECK(convert(fixture("tiny-qwen2-yarn"), output, options).calibration_tokens == 0);
  options.calibration = Calibrate::text;
  for (const char* text : {"", "a", "a\xff"}) {
    options.calibration_text = text;
    CHECK(code_of(source, output, options) == ErrorCode::InvalidArgument);
  }
  options.calibration_text = "ab";  // far fewer tokens than channels
  CHECK(code_of(fixture("tiny-qwen2-yarn"), output, options) == ErrorCode::InvalidArgument);
  CHECK(convert(source, output, options).calibration_tokens == 2);
  const Model model = Model::open(output);
  Session session(model, {.context = 16});
  CHECK(all_logits(session, std::vector<int32_t>{1, 2, 3}).size() == 3 * 1024);
  options.scheme = Scheme::f32;  // nothing to round
  CHECK(convert(source, output, options).calibration_tokens == 0);
}
