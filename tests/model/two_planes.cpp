// Inputs of linears as two int8 planes, against the formula in double.
#include "lib/model/two_planes.h"

#include <octet/quant.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "lib/generate/session_impl.h"
#include "lib/model/decoder.h"
#include "lib/model/model_impl.h"
#include "lib/model/octet_file.h"
#include "quant/pack.h"
#include "quant/quantize.h"
#include "support/evaluate.h"
#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;

namespace {

Model open_mixed(const std::string& path, Scheme scheme, const char* mixed) {
  ModelOptions options;
  options.scheme = scheme;
  options.mixed = mixed;
  options.threads = 2;
  return Model::open(path, options);
}

/// x [k] as the sum of `planes` int8 planes, each by groups of `group` values.
std::vector<double> planes_of(std::vector<double> x, size_t group, int planes) {
  std::vector<double> sum(x.size());
  for (int plane = 0; plane < planes; ++plane)
    for (size_t begin = 0; begin < x.size(); begin += group) {
      const size_t end = std::min(begin + group, x.size());
      double absmax = 0;
      for (size_t i = begin; i < end; ++i) absmax = std::max(absmax, std::abs(x[i]));
      for (size_t i = begin; i < end; ++i) {
        const double value = absmax > 0 ? std::nearbyint(x[i] * 127 / absmax) * absmax / 127 : 0;
        sum[i] += value;
        x[i] -= value;
      }
    }
  return sum;
}

/// Row `row` of an int8 matrix.
std::vector<double> dequantized(const Matrix& w, int64_t row) {
  std::vector<int8_t> q(static_cast<size_t>(w.k));
  quant::unpack_row(static_cast<const int8_t*>(w.data), w.k, row, q.data());
  std::vector<double> values;
  const int64_t groups = kernels::num_groups(w.k);
  for (int64_t i = 0; i < w.k; ++i) {
    const int64_t at = (row / 16 * groups + i / 128) * 16 + row % 16;
    const double scale = w.scheme == Scheme::w8a8
                             ? static_cast<const float*>(w.scale)[row]
                             : quant::bfloat16_value(static_cast<const uint16_t*>(w.scale)[at]);
    values.push_back(scale * q[static_cast<size_t>(i)]);
  }
  return values;
}

/// Logits of the last of some ids, and its residual stream before the final norm.
struct LastRow {
  std::vector<float> logits, hidden;
};

LastRow last_row(const Model& model, std::span<const int32_t> ids) {
  LastRow result;
  Session session(model, {.context = 32});
  Sequence& sequence = session.impl()->sequence;
  ModelImpl& impl = *model.impl();
  const auto rows = static_cast<int64_t>(ids.size()), width = impl.config.hidden_size;
  sequence.cache.extend(0, rows);
  const Chunk chunk[] = {{&sequence.cache, &sequence.rope, 0, rows, 0}};
  const int64_t wanted[] = {rows - 1};
  const auto observe = [&](int64_t, const float* hidden) {
    result.hidden.assign(hidden + (rows - 1) * width, hidden + rows * width);
  };
  const HiddenObserver observer = observe;
  decode(
      impl.config, impl.weights, *impl.backend, {ids, chunk, wanted},
      [&](int64_t, std::span<const RowLogits> some) {
        result.logits.assign(some[0].logits.begin(), some[0].logits.end());
      },
      &observer);
  return result;
}

/// The largest error of the head's logits against `planes` planes in double.
double head_error(const Model& model, int planes) {
  const LastRow row = last_row(model, std::vector<int32_t>{1, 5, 17, 200, 3, 99, 42});
  const ModelImpl& impl = *model.impl();
  double squares = 0;
  for (float value : row.hidden) squares += double{value} * value;
  const double norm =
      1 / std::sqrt(squares / static_cast<double>(row.hidden.size()) + impl.config.rms_norm_eps);
  std::vector<double> x;
  for (size_t i = 0; i < row.hidden.size(); ++i)
    x.push_back(row.hidden[i] * norm * impl.weights.final_norm[i]);
  x = planes_of(x, model.scheme() == Scheme::w8a8 ? x.size() : 128, planes);
  double worst = 0;
  for (int64_t id = 0; id < impl.config.vocab_size; ++id) {
    const std::vector<double> w = dequantized(impl.weights.head, id);
    double logit = 0;
    for (size_t i = 0; i < x.size(); ++i) logit += w[i] * x[i];
    worst = std::max(worst, std::abs(logit - row.logits[static_cast<size_t>(id)]));
  }
  return worst;
}

}  // namespace

TEST_CASE("a linear with two planes multiplies s1 q1 + s2 q2") {
  for (const char* name : {"tiny-qwen2", "tiny-qwen2-tied", "tiny-qwen3"})
    for (Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128}) {
      CAPTURE(name);
      const Model two = open_mixed(fixture(name), scheme, "head");
      CHECK(head_error(two, 2) < 1e-4);
      CHECK(head_error(two, 1) > 1e-3);
      CHECK(head_error(open_mixed(fixture(name), scheme, "off"), 2) > 1e-3);
    }
}

TEST_CASE("with two planes everywhere the error of the activations goes") {
  for (Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128}) {
    const std::string path = fixture("tiny-qwen2");
    const std::vector<int32_t> ids = {1, 5, 17, 200, 3, 99};
    const std::vector<float> reference = last_row(open_model(path, Scheme::f32), ids).logits;
    const auto error = [&](const char* mixed) {
      return max_difference(last_row(open_mixed(path, scheme, mixed), ids).logits, reference);
    };
    const double off = error("off"), all = error("q,k,v,o,gate,up,down,head");
    MESSAGE(to_string(scheme), ": largest error of a logit ", off, ", with two planes ", all);
    CHECK(all < 0.9 * off);
  }
}

TEST_CASE("a file records its linears with two planes, and names that are none are errors") {
  const TempDir folder;
  const std::string path = folder.path("m");
  ConvertOptions options;
  options.rotation = Rotation::off;
  options.mixed = "v";
  convert(fixture("tiny-qwen2"), path, options);
  const auto file = OctetFile::open(path);
  CHECK(file->tensors().metadata.at("octet.format") == "2");
  CHECK(inspect(path).two_planes.size() == 4);
  CHECK(inspect(path).two_planes[3] == "model.layers.3.self_attn.v_proj.weight");
  CHECK(Model::open(path).impl()->weights.layers[2].v.weight.planes == 2);
  CHECK(Model::open(path).impl()->weights.layers[2].k.weight.planes == 1);
  options.mixed = "off";
  convert(fixture("tiny-qwen2"), path, options);
  CHECK(OctetFile::open(path)->tensors().metadata.at("octet.format") == "1");

  const ModelConfig config = file->header().config;
  const TwoPlanes some = two_planes(config, Scheme::w8a8, "k,head");
  CHECK(some.size() == 5);
  CHECK(two_planes_from_json(two_planes_to_json(some), config, "f") == some);
  CHECK(two_planes(config, Scheme::f32, "k").empty());
  for (const char* bad : {"", "k,", "K", "k, v", "all", "off,k"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(two_planes(config, Scheme::w8a8, bad), Error);
  }
  for (const char* bad : {"", "{}", "[1]", R"(["model.layers.4.self_attn.v_proj.weight"])",
                          R"(["model.norm.weight"])"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(two_planes_from_json(bad, config, "f"), Error);
  }
}
