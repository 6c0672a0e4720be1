// The search for a cheap assignment, on sensitivities made by hand.
#include "lib/convert/assignment.h"

#include <doctest/doctest.h>

using namespace octet;

namespace {

/// Layers of q, k, v, .., down, all of `weights` weights, and a head of as many.
std::vector<LinearSensitivity> flat(int64_t layers, int64_t weights, double kl, double left) {
  std::vector<LinearSensitivity> linears;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (int kind = 0; kind < num_layer_kinds; ++kind)
      linears.push_back({static_cast<LinearKind>(kind), layer, weights, kl, left, kl});
  linears.push_back({LinearKind::head, 0, weights, kl, left, kl});
  return linears;
}

}  // namespace

TEST_CASE("nothing is mixed where the budget is met already") {
  const Assignment chosen = assign(flat(2, 100, 0.01, 0.001), 0.1, 0.1);
  CHECK(chosen.two_planes.empty());
  CHECK(chosen.f16.empty());
  CHECK(chosen.expected_kl == 0.1);
}

TEST_CASE("what saves most for its multiplications goes first") {
  std::vector<LinearSensitivity> linears = flat(2, 1000, 0.01, 0.002);
  linears[2].kl = linears[2].kl_grouped = 0.05;  // layer 0, v: most in all
  linears[8].kl = linears[8].kl_grouped = 0.02,
  linears[8].weights = 100;  // layer 1, k: most for its size
  double sum = 0;
  for (const LinearSensitivity& linear : linears) sum += linear.kl;
  Assignment chosen = assign(linears, sum, sum - 0.001);
  CHECK(chosen.two_planes == TwoPlanes{"model.layers.1.self_attn.k_proj.weight"});
  CHECK(chosen.expected_kl == doctest::Approx(sum - 0.018));
  chosen = assign(linears, sum, sum - 0.03);
  CHECK(chosen.two_planes == TwoPlanes{"model.layers.0.self_attn.v_proj.weight",
                                       "model.layers.1.self_attn.k_proj.weight"});
  CHECK(chosen.f16.empty());
}

TEST_CASE("scales of groups come before two planes, which come where groups do not suffice") {
  std::vector<LinearSensitivity> linears = flat(1, 1000, 0.01, 0.002);
  for (LinearSensitivity& linear : linears) linear.kl_grouped = 0.006;
  linears[6].kl = 0.02;  // down: groups save most there
  const double sum = 7 * 0.01 + 0.02;
  const std::string down = "model.layers.0.mlp.down_proj.weight";
  Assignment chosen = assign(linears, sum, sum - 0.014);
  CHECK(chosen.grouped == std::set<std::string>{down});
  CHECK(chosen.two_planes.empty());
  chosen = assign(linears, sum, 8 * 0.006);
  CHECK(chosen.grouped.size() == 8);
  chosen = assign(linears, sum, 8 * 0.006 - 0.001);
  CHECK(chosen.grouped.size() == 7);
  CHECK(chosen.two_planes.size() == 1);
  CHECK(chosen.f16.empty());
}

TEST_CASE("own errors are scaled to the model's") {
  const std::vector<LinearSensitivity> linears = flat(1, 10, 0.01, 0.0);
  const Assignment chosen = assign(linears, 0.8, 0.75);  // ten times their sum
  CHECK(chosen.two_planes.size() == 1);
  CHECK(chosen.expected_kl == doctest::Approx(0.7));
}

TEST_CASE("where two planes do not help, fp16 does; and no budget is too small to end") {
  std::vector<LinearSensitivity> linears = flat(1, 10, 0.001, 0.0005);
  linears[4].kl = linears[4].kl_two_planes = linears[4].kl_grouped =
      0.1;  // gate: its weights are at fault
  double sum = 0;
  for (const LinearSensitivity& linear : linears) sum += linear.kl;
  Assignment chosen = assign(linears, sum, 0.01);
  CHECK(chosen.f16 == std::set<std::string>{"model.layers.0.mlp.gate_proj.weight"});
  CHECK(chosen.two_planes.empty());
  chosen = assign(linears, sum, 0);
  CHECK(chosen.f16.size() == linears.size());
  CHECK(chosen.two_planes.empty());
  CHECK(std::abs(chosen.expected_kl) < 1e-12);
  chosen = assign(flat(1, 10, 0, 0), 0.5, 0.1);  // nothing is known to cost anything
  CHECK(chosen.f16.empty());
  CHECK(chosen.expected_kl == 0.5);
}
