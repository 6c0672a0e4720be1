// A sampler of one's own over Session::evaluate: custom_sampler MODEL PROMPT
//
// Top-n-sigma (Tang et al. 2024, arXiv:2411.07641) keeps the logits within n standard deviations
// of the highest one. octet's sampler draws from what is left; a draw of one's own could stand in
// its place.
#include <octet/octet.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>

namespace {

/// The logits within n standard deviations of the highest; the others are forbidden (-infinity).
std::vector<float> top_n_sigma(std::span<const float> logits, double n) {
  double sum = 0, squares = 0;
  for (float logit : logits) {
    sum += logit;
    squares += double{logit} * logit;
  }
  const double mean = sum / logits.size();
  const double sigma = std::sqrt(std::max(0.0, squares / logits.size() - mean * mean));
  const double least = *std::max_element(logits.begin(), logits.end()) - n * sigma;
  std::vector<float> kept(logits.begin(), logits.end());
  for (float& logit : kept)
    if (logit < least) logit = -std::numeric_limits<float>::infinity();
  return kept;
}

void generate(const char* path, const char* prompt) {
  octet::Model model = octet::Model::open(path);
  octet::Session session(model);
  const octet::Tokenizer& tokenizer = model.tokenizer();
  octet::StreamDecoder text(tokenizer);
  octet::Sampler sampler({.temperature = 1.5f, .top_k = 0, .seed = 42});

  std::vector<int32_t> ids = tokenizer.encode(prompt);
  const std::vector<int32_t>& ends = model.config().eos_ids;
  for (int i = 0; i < 64; ++i) {
    int32_t next = -1;
    session.evaluate(ids, octet::Session::Rows::last, [&](int64_t, std::span<const float> logits) {
      // Rows of the embedding beyond the tokenizer have no text.
      const auto texts = std::min<size_t>(logits.size(), tokenizer.size());
      next = sampler.sample(top_n_sigma(logits.first(texts), 1.0));
    });
    if (std::find(ends.begin(), ends.end(), next) != ends.end()) break;
    std::cout << text.push(next) << std::flush;
    ids.assign(1, next);
  }
  std::cout << text.finish() << "\n";
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return std::cerr << "usage: custom_sampler MODEL PROMPT\n", 2;
  generate(argv[1], argv[2]);
} catch (const octet::Error& error) {
  std::cerr << "custom_sampler: " << to_string(error.code()) << ": " << error.what() << "\n";
  return 1;
}
