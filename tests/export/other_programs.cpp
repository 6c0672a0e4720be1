// What octet exports, read by the programs it is for (check_exports.py).
#include <octet/export_model.h>
#include <octet/quant.h>

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/command.h"
#include "support/evaluate.h"
#include "support/fixtures.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

TEST_CASE("transformers, compressed-tensors and gguf read what octet exports") {
  const char* const python = std::getenv("OCTET_HF_PYTHON");
  if (!python) {
    MESSAGE(
        "not run: OCTET_HF_PYTHON is not set (a Python with torch, transformers, "
        "compressed-tensors and gguf)");
    return;
  }
  const TempDir folder;
  const std::string source = folder.path("source"), file = folder.path("m.safetensors");
  make_text_model("tiny-qwen2", source);
  ConvertOptions options;
  options.rotation = Rotation::folded;
  options.calibration = Calibrate::off;
  options.mixed = "off";
  convert(source, file, options);
  export_model(file, folder.path("ct"));
  export_model(file, folder.path("hf"), {ExportFormat::hf, ExportType::f32});
  export_model(file, folder.path("m.gguf"), {ExportFormat::gguf});

  const Model model = open_model(folder.path("hf"), Scheme::f32);
  const std::vector<int32_t> ids = {5, 190, 17, 3, 44, 12, 200, 8, 9, 10, 11, 250, 31};
  Session session(model, {.context = 16});
  const std::string text = "<|im_start|>user\nGrüße, 世界! 17 * 24<|im_end|>";
  const std::vector<ChatMessage> chat = {{"user", "hi"}};
  std::ofstream(folder.path("expected.json"))
      << nlohmann::json{{"ids", ids},
                        {"logits", all_logits(session, ids)},
                        {"text", text},
                        {"text_ids", model.tokenizer().encode(text)},
                        {"chat", render_chat(model, chat)}};
  const CommandResult result =
      run_program({python, source_file("tests/export/check_exports.py"), folder.path()});
  CHECK_MESSAGE(result.status == 0, result.err);
  MESSAGE(result.out);
}
