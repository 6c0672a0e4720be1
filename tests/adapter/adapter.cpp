// LoRA adapters, merged at conversion and beside the model's weights, against PEFT's own merge
// (tests/data/make/lora.py).
#include <octet/adapter.h>
#include <octet/quant.h>
#include <octet/session.h>

#include <doctest/doctest.h>

#include "lib/model/model_impl.h"
#include "support/evaluate.h"
#include "support/fixtures.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

using Parts = std::vector<AdapterSource>;  // by name

struct Case {
  const char* name;
  Parts parts;
};
const std::vector<Case> cases = {{"all", {{"all"}}},
                                 {"some", {{"some"}}},
                                 {"half", {{"all", 0.5}}},
                                 {"both", {{"all"}, {"some", -0.7}}}};
const char* const models[] = {"tiny-qwen2", "tiny-qwen2-tied"};

std::string folder_of(const std::string& model, const std::string& adapter) {
  return fixture("lora/" + model + "/" + adapter);
}

std::vector<Adapter> load(const Model& model, const std::string& name, const Parts& parts) {
  std::vector<Adapter> adapters;
  for (const AdapterSource& part : parts)
    adapters.push_back(Adapter::load(model, folder_of(name, part.directory), part.scale));
  return adapters;
}

struct Reference {
  explicit Reference(const std::string& model)
      : without(fixture(model + "/expected.safetensors")),
        expected(fixture("lora/" + model + "/expected.safetensors")),
        ids(expected.i32("ids")) {}
  /// name: "none" for the model alone.
  std::vector<float> logits(const std::string& name) const {
    return name == "none" ? without.f32("p33.logits") : expected.f32(name + ".logits");
  }
  Expected without, expected;
  std::vector<int32_t> ids;
};

std::vector<float> logits_with(const Model& model, std::vector<Adapter> adapters,
                               const std::vector<int32_t>& ids, size_t chunk = 0) {
  Session session(model, {.context = 64, .adapters = std::move(adapters)});
  return all_logits(session, ids, chunk);
}

Model open_rotated(const std::string& path, Scheme scheme, Rotation rotation) {
  ModelOptions options;
  options.scheme = scheme;
  options.rotation = rotation;
  options.threads = 2;
  return Model::open(path, options);
}

}  // namespace

TEST_CASE("adapters beside f32 weights: logits within 1e-3 of PEFT's merge, rotated or not") {
  for (const char* name : models)
    for (Rotation rotation : {Rotation::off, Rotation::on, Rotation::folded}) {
      CAPTURE(name);
      CAPTURE(to_string(rotation));
      const Model model = open_rotated(fixture(name), Scheme::f32, rotation);
      const Reference reference(name);
      for (const Case& test : cases) {
        CAPTURE(test.name);
        const std::vector<float> wanted = reference.logits(test.name);
        CHECK(max_difference(logits_with(model, load(model, name, test.parts), reference.ids),
                             wanted) < 1e-3);
        CHECK(max_difference(reference.logits("none"), wanted) > 0.2);  // it does something
      }
    }
}

TEST_CASE("an adapter of the head") {
  for (Rotation rotation : {Rotation::off, Rotation::on}) {
    const Model model = open_rotated(fixture("tiny-qwen2"), Scheme::f32, rotation);
    const Reference reference("tiny-qwen2");
    const std::vector<float> logits =
        logits_with(model, load(model, "tiny-qwen2", {{"head"}}), reference.ids);
    CHECK(max_difference(logits, reference.logits("head")) < 1e-3);
  }
}

TEST_CASE("adapters merged at conversion: logits within 1e-3 of PEFT's merge, rotated or not") {
  for (const char* name : models)
    for (Rotation rotation : {Rotation::off, Rotation::on}) {
      CAPTURE(name);
      const Reference reference(name);
      for (const Case& test : cases) {
        CAPTURE(test.name);
        const TempDir folder;
        ConvertOptions options;
        options.scheme = Scheme::f32;
        options.rotation = rotation;
        for (const AdapterSource& part : test.parts)
          options.adapters.push_back({folder_of(name, part.directory), part.scale});
        convert(fixture(name), folder.path("m.safetensors"), options);
        const Model model = open_model(folder.path("m.safetensors"), Scheme::f32);
        CHECK(max_difference(logits_with(model, {}, reference.ids), reference.logits(test.name)) <
              1e-3);
      }
    }
}

TEST_CASE("adapters beside int8 weights, of a converted and rotated file too") {
  for (const char* name : models)
    for (Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128, Scheme::f16}) {
      CAPTURE(name);
      CAPTURE(to_string(scheme));
      const TempDir folder;
      ConvertOptions options;
      options.scheme = scheme;
      options.calibration = Calibrate::off;
      convert(fixture(name), folder.path("m.safetensors"), options);
      const Model model = open_model(folder.path("m.safetensors"), scheme);
      const Reference reference(name);
      // int8 costs the adapted model as much as it costs the model alone.
      const double cost =
          mean_difference(logits_with(model, {}, reference.ids), reference.logits("none"));
      const double change = mean_difference(reference.logits("all"), reference.logits("none"));
      const double error = mean_difference(
          logits_with(model, load(model, name, {{"all"}}), reference.ids), reference.logits("all"));
      CHECK(error < 1.5 * cost + 1e-3);
      CHECK(change > 2 * error);
    }
}

TEST_CASE("adapters beside calibrated int8 weights, whose inputs are scaled") {
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("source"));
  ConvertOptions options;
  options.mixed = "off";
  options.calibration = Calibrate::text;
  for (int i = 0; i < 40; ++i)
    options.calibration_text += "a quick brown fox; " + std::to_string(i);
  convert(folder.path("source"), folder.path("m.safetensors"), options);
  const Model model = open_model(folder.path("m.safetensors"), Scheme::w8a8);
  REQUIRE(model.impl()->rotation.norm > 1);
  const Reference reference("tiny-qwen2");
  for (const char* adapter : {"all", "head"}) {
    CAPTURE(adapter);
    const double cost =
        mean_difference(logits_with(model, {}, reference.ids), reference.logits("none"));
    const double error =
        mean_difference(logits_with(model, load(model, "tiny-qwen2", {{adapter}}), reference.ids),
                        reference.logits(adapter));
    CHECK(error < 1.5 * cost + 1e-3);
  }
}

TEST_CASE("sequences with different adapters in one step have the bits of each alone") {
  const Model model = open_rotated(fixture("tiny-qwen2-tied"), Scheme::w8a8, Rotation::on);
  const std::string name = "tiny-qwen2-tied";
  const std::vector<std::vector<Adapter>> sets = {{},
                                                  load(model, name, {{"all"}}),
                                                  load(model, name, {{"some"}}),
                                                  load(model, name, {{"all"}, {"some", 2}})};
  const std::vector<int32_t> ids = Reference(name).ids;
  std::vector<std::vector<float>> alone, together(sets.size());
  std::vector<Session> sessions;
  for (const std::vector<Adapter>& adapters : sets) {
    alone.push_back(logits_with(model, adapters, ids));
    CHECK(same_bits(logits_with(model, adapters, ids, 5), alone.back()));
    CHECK(same_bits(logits_with(model, adapters, ids, 1), alone.back()));
    sessions.emplace_back(model, SessionOptions{.context = 64, .adapters = adapters});
  }
  // Chunks of different lengths, then single tokens.
  size_t done[] = {0, 0, 0, 0};
  while (done[0] < ids.size()) {
    std::vector<StepInput> inputs;
    for (size_t i = 0; i < sessions.size(); ++i) {
      const size_t count = std::min(done[i] == 0 ? 3 + 9 * i : size_t{1}, ids.size() - done[i]);
      if (count == 0) continue;
      inputs.push_back({&sessions[i], std::span(ids).subspan(done[i], count), Session::Rows::all});
      done[i] += count;
    }
    step(inputs, [&](size_t input, int64_t, std::span<const float> logits) {
      const auto which = static_cast<size_t>(inputs[input].session - sessions.data());
      together[which].insert(together[which].end(), logits.begin(), logits.end());
    });
  }
  for (size_t i = 0; i < sets.size(); ++i) CHECK(same_bits(together[i], alone[i]));
  CHECK_FALSE(same_bits(alone[0], alone[1]));
}

TEST_CASE("a session changes its adapters and starts over; threads do not matter") {
  const Model model = open_rotated(fixture("tiny-qwen2"), Scheme::w8a8, Rotation::on);
  const std::vector<int32_t> ids = Reference("tiny-qwen2").ids;
  const auto all = load(model, "tiny-qwen2", {{"all"}}),
             head = load(model, "tiny-qwen2", {{"head"}});
  Session session(model, {.context = 64});
  const std::vector<float> plain = all_logits(session, ids);
  session.set_adapters(all);
  CHECK(session.size() == 0);
  CHECK(same_bits(all_logits(session, ids), logits_with(model, all, ids)));
  session.set_adapters(head);
  CHECK(same_bits(all_logits(session, ids), logits_with(model, head, ids)));
  session.set_adapters({});
  CHECK(same_bits(all_logits(session, ids), plain));

  ModelOptions options;
  options.threads = 5;
  options.rotation = Rotation::on;
  const Model other = Model::open(fixture("tiny-qwen2"), options);
  CHECK(same_bits(logits_with(other, load(other, "tiny-qwen2", {{"all"}}), ids),
                  logits_with(model, all, ids)));
  CHECK_THROWS_WITH_AS(session.set_adapters(load(other, "tiny-qwen2", {{"all"}})),
                       doctest::Contains("another model"), Error);
}
