#pragma once
// Options and results of generations, between octet/c.h and C++: what sessions and engines share.
#include <octet/c.h>
#include <octet/generate.h>

#include <span>
#include <vector>

namespace octet::c {

/// NULL: the model's defaults. Errors: InvalidArgument.
GenerateOptions generate_options(const Model& model, const octet_generate_options* options);

/// Never cancels if NULL.
CancelToken cancel_token(const octet_cancel_token* token);

octet_generate_stats generate_stats(const GenerateStats& stats);

/// Tokens in the form of octet/c.h, and the memory that they point to.
class TokenList {
 public:
  void assign(std::span<const GeneratedToken> tokens);
  std::span<const octet_token> tokens() const { return tokens_; }

 private:
  std::vector<octet_token> tokens_;
  std::vector<octet_logprob> tops_;
};

}  // namespace octet::c
