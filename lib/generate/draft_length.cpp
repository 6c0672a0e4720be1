#include "lib/generate/draft_length.h"

#include <algorithm>
#include <string_view>

namespace octet {
namespace {

/// Weight of the newest observation.
constexpr double smoothing = 1.0 / 16;
/// A draft must promise this much, as the estimates are rough.
constexpr double least_gain = 1.03;

}  // namespace

double extra_row_cost(const Model& model, int64_t depth) {
  const std::string_view isa = model.instruction_set();
  const bool fast = isa == "avxvnni" || isa == "avx512vnni" || isa == "amx";
  const bool cuda = isa.starts_with("sm_");  // tensor cores multiply 8 rows at once
  const double linears = cuda ? 0.05 : fast ? 0.12 : 0.25;
  // Each row reads keys and values for itself; the weights are read once.
  const auto weights = static_cast<double>(model.decode_weight_bytes());
  const double kv = static_cast<double>(depth) * static_cast<double>(model.kv_bytes_per_token());
  return (linears * weights + kv) / (weights + kv);
}

size_t DraftLength::group(int64_t match) {
  return match >= 8 ? 3 : match >= 4 ? 2 : match == 3 ? 1 : 0;
}

void DraftLength::observe(int64_t match, bool right) {
  double& share = right_[group(match)];
  share += smoothing * ((right ? 1.0 : 0.0) - share);
}

int64_t DraftLength::choose(int64_t match, double row_cost, int64_t most) const {
  // Row i is of use if the i ids before it were right: tokens = 1 + p + p^2 + ... + p^k
  // (Leviathan et al. 2023, arXiv:2211.17192, eq. 1).
  const double p = right_[group(match)];
  double tokens = 1, power = 1, best_gain = least_gain;
  int64_t best = 0;
  for (int64_t k = 1; k <= most; ++k) {
    power *= p;
    tokens += power;
    const double gain = tokens / (1 + row_cost * static_cast<double>(k));
    if (gain <= best_gain) continue;
    best_gain = gain;
    best = k;
  }
  return best;
}

}  // namespace octet
