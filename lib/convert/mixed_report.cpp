#include "lib/convert/mixed_report.h"

#include <algorithm>

namespace octet {

MixedReport mixed_report(const ModelSensitivity& sensitivity, Scheme scheme,
                         const Assignment& chosen, const EvalComparison& written, int64_t tokens) {
  MixedReport report;
  report.tokens = tokens;
  report.kl_one_plane = sensitivity.all.kl_mean;
  report.kl_expected = chosen.expected_kl;
  report.kl = written.kl_mean;
  report.kl_error = written.kl_mean_error;
  report.perplexity_ratio = written.perplexity_ratio;
  double all = 0, more = 0;
  for (const LinearSensitivity& linear : sensitivity.linears) {
    MixedReport::LinearChoice choice{weight_name(linear.kind, linear.layer),
                                     to_string(linear.kind),
                                     linear.kind == LinearKind::head ? -1 : linear.layer,
                                     to_string(scheme),
                                     linear.kl,
                                     linear.kl};
    const auto weights = static_cast<double>(linear.weights);
    all += weights;
    if (chosen.grouped.contains(choice.weight)) {
      choice.form = to_string(Scheme::w8a8_g128);
      choice.kl_left = linear.kl_grouped;
    } else if (chosen.two_planes.contains(choice.weight)) {
      choice.form = "two planes";
      choice.kl_left = linear.kl_two_planes;
      more += weights;
    } else if (chosen.f16.contains(choice.weight)) {
      choice.form = to_string(Scheme::f16);
      choice.kl_left = 0;
      more += weights;
    }
    report.linears.push_back(std::move(choice));
  }
  report.one_plane_share = all > 0 ? 1 - more / all : 1;
  std::stable_sort(report.linears.begin(), report.linears.end(),
                   [](const auto& a, const auto& b) { return a.kl > b.kl; });
  return report;
}

}  // namespace octet
