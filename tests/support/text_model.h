#pragma once
#include <string>

#include "support/fixtures.h"

namespace octet::testing {

/// Makes a Hugging Face directory `folder` of a tiny model's weights with a tokenizer of single
/// bytes (ids 0 to 255 in GPT-2's order), <|im_start|> 256, <|im_end|> 257 (an end token), and a
/// chat template in ChatML's form. Ids from 258 on have no text, or with `thinking` those from 260:
/// <think> is 258 and </think> 259.
void make_text_model(const std::string& model, const std::string& folder, bool thinking = false);

/// Such a model, opened, in a folder of its own.
struct TextModel {
  struct Options {
    const char* source = "tiny-qwen2";
    bool thinking = false;
    Scheme scheme = Scheme::w8a8;
    int64_t max_rows = 256;
    KvCacheType kv_cache = KvCacheType::f16;
  };
  TempDir folder;
  Model model;

  TextModel() : TextModel(Options()) {}
  explicit TextModel(const Options& options);
};

/// The default one, for all tests of a program.
const Model& text_model();

}  // namespace octet::testing
