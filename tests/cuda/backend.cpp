// Whole models on the device against the CPU, and the device against itself.
#include <algorithm>
#include <optional>

#include <octet/quant.h>

#include "tests/cuda/compare.h"
#include "tests/cuda/device.h"

using namespace octet;
using namespace octet::testing;

namespace {

const char* const models[] = {"tiny-qwen2", "tiny-qwen2-tied", "tiny-qwen3", "tiny-llama",
                              "tiny-qwen2-distill"};
constexpr Scheme schemes[] = {Scheme::w8a8, Scheme::w8a8_g128};
constexpr std::pair<Scheme, KvCacheType> schemes_and_caches[] = {
    {Scheme::w8a8, KvCacheType::f16},
    {Scheme::w8a8_g128, KvCacheType::f16},
    {Scheme::w8a8, KvCacheType::int8}};

Model open_on(const Device& device, const char* name, Scheme scheme,
              KvCacheType kv_cache = KvCacheType::f16) {
  ModelOptions options;
  options.device = device;
  options.scheme = scheme;
  options.max_rows = 256;
  options.kv_cache = kv_cache;
  options.mixed = "off";
  return Model::open(fixture(name), options);
}

}  // namespace

TEST_CASE("cuda: logits are the CPU's, as a prompt and token by token") {
  if (!has_cuda()) return;
  for (const char* name : models)
    for (Scheme scheme : schemes) {
      CAPTURE(name);
      const Model cpu = open_on(Device::cpu(), name, scheme);
      const Model cuda = open_on(Device::cuda(), name, scheme);
      CHECK(std::string(cuda.device()) == "cuda:0");
      const std::vector<int32_t> ids = some_ids(cpu, 70, 1);
      const std::vector<float> expected = alone(cpu, ids);
      const auto vocab = static_cast<size_t>(cpu.config().vocab_size);
      for (size_t chunk : {0, 1, 5, 33}) {
        CAPTURE(chunk);
        const double cosine = least_cosine(alone(cuda, ids, chunk), expected, vocab);
        // A flipped rounding grows: the CPU with another KV cache is as far from itself
        // (docs/performance/cuda.md).
        CHECK(cosine > 0.998);
      }
    }
}

TEST_CASE("cuda: over an int8 cache logits are the CPU's, as a prompt and token by token") {
  if (!has_cuda()) return;
  for (const char* name : {"tiny-qwen2", "tiny-qwen3", "tiny-qwen2-distill"}) {
    CAPTURE(name);
    const Model cpu = open_on(Device::cpu(), name, Scheme::w8a8, KvCacheType::int8);
    const Model cuda = open_on(Device::cuda(), name, Scheme::w8a8, KvCacheType::int8);
    const std::vector<int32_t> ids = some_ids(cpu, 70, 1);
    const std::vector<float> expected = alone(cpu, ids);
    for (size_t chunk : {0, 1, 5, 33}) {
      CAPTURE(chunk);
      CHECK(least_cosine(alone(cuda, ids, chunk), expected,
                         static_cast<size_t>(cpu.config().vocab_size)) > 0.998);
    }
  }
}

TEST_CASE(
    "cuda: files as convert makes them, with inputs scaled and rotated, give the CPU's logits") {
  if (!has_cuda()) return;
  const TempDir folder;
  for (const Scheme scheme : schemes) {
    ConvertOptions convert_options;
    convert_options.scheme = scheme;
    const std::string path = folder.path(to_string(scheme));
    convert(fixture("tiny-qwen2"), path, convert_options);
    CHECK(inspect(path).rotated);
    ModelOptions options;
    const auto open = [&](const Device& device) {
      options.device = device;
      return Model::open(path, options);
    };
    const Model cpu = open(Device::cpu()), cuda = open(Device::cuda());
    const std::vector<int32_t> ids = some_ids(cpu, 70, 1);
    for (size_t chunk : {0, 1, 5})
      CHECK(least_cosine(alone(cuda, ids, chunk), alone(cpu, ids),
                         static_cast<size_t>(cpu.config().vocab_size)) > 0.998);
  }
}

TEST_CASE("cuda: what else is in the batch does not change a bit") {
  if (!has_cuda()) return;
  for (const auto& [scheme, kv_cache] : schemes_and_caches) {
    const Model model = open_on(Device::cuda(), "tiny-qwen2-tied", scheme, kv_cache);
    std::vector<Session> sessions;
    std::vector<std::vector<int32_t>> ids;
    std::vector<std::vector<float>> got(4);
    for (int64_t i = 0; i < 4; ++i) {
      sessions.emplace_back(model, SessionOptions{.context = 256});
      ids.push_back(some_ids(model, 10 + 21 * i, i));
    }
    for (const size_t begin : {0, 1, 2, 30}) {
      const size_t end = begin == 0 ? 1 : begin == 1 ? 2 : begin == 2 ? 30 : 1000;
      std::vector<StepInput> inputs;
      for (size_t i = 0; i < 4; ++i) {
        const size_t last = std::min(end, ids[i].size()), first = std::min(begin, last);
        inputs.push_back(
            {&sessions[i], std::span(ids[i]).subspan(first, last - first), Session::Rows::all});
      }
      step(inputs, [&](size_t input, int64_t, std::span<const float> logits) {
        got[input].insert(got[input].end(), logits.begin(), logits.end());
      });
    }
    for (size_t i = 0; i < 4; ++i) {
      // The same chunks alone.
      Session session(model, {.context = 256});
      std::vector<float> expected;
      for (const auto& [begin, end] : {std::pair{0, 1}, {1, 2}, {2, 30}, {30, 1000}}) {
        const size_t last = std::min<size_t>(end, ids[i].size()),
                     first = std::min<size_t>(begin, last);
        if (first == last) continue;
        const std::vector<float> part =
            all_logits(session, std::span(ids[i]).subspan(first, last - first));
        expected.insert(expected.end(), part.begin(), part.end());
      }
      CHECK(same_bits(got[i], expected));
    }
  }
}

TEST_CASE("cuda: steps of up to 16 rows give the bits of single rows") {
  if (!has_cuda()) return;
  for (const auto& [scheme, kv_cache] : schemes_and_caches) {
    const Model model = open_on(Device::cuda(), "tiny-qwen2-distill", scheme, kv_cache);
    const std::vector<int32_t> ids = some_ids(model, 48, 2);
    const std::vector<float> single = alone(model, ids, 1);
    for (size_t chunk : {2, 7, 16}) CHECK(same_bits(alone(model, ids, chunk), single));
    CHECK(same_bits(alone(model, ids, 1), single));  // from graphs this time
  }
}

TEST_CASE("cuda: chunks of more than 16 rows give the same bits however they are cut") {
  if (!has_cuda()) return;
  for (const auto& [scheme, kv_cache] : schemes_and_caches) {
    const Model model = open_on(Device::cuda(), "tiny-qwen2", scheme, kv_cache);
    const std::vector<int32_t> ids = some_ids(model, 150, 2);
    const std::vector<float> whole = alone(model, ids);
    for (size_t chunk : {50, 75, 130}) CHECK(same_bits(alone(model, ids, chunk), whole));
  }
}

/// A session that continues with its best ids, which the device may evaluate before it is told to.
struct Greedy {
  Session session;
  int32_t next = 1;
  std::vector<TopLogit> best = {};  ///< after each of the last tokens

  /// Evaluates the next id, and draws the one behind it.
  static void step(std::initializer_list<Greedy*> all, int count) {
    for (int i = 0; i < count; ++i) {
      std::vector<StepInput> inputs;
      for (Greedy* one : all) inputs.push_back({&one->session, std::span(&one->next, 1)});
      step_top(inputs, 2, [&](size_t input, int64_t, std::span<const TopLogit> best) {
        Greedy& one = **(all.begin() + input);
        one.best.push_back(best[0]);
        one.next = best[0].id;
      });
    }
  }
  /// The same tokens give the same best logits where nothing is evaluated ahead, as all logits are
  /// asked for.
  void check() const {
    const Model& model = session.model();
    const std::vector<float> logits = alone(model, session.tokens(), 1);
    const auto vocab = model.config().vocab_size;
    for (size_t i = 0; i < best.size(); ++i) {
      const auto row = session.size() - static_cast<int64_t>(best.size() - i);
      const float* of_row = logits.data() + row * vocab;
      const float* largest = std::max_element(of_row, of_row + vocab);
      CHECK(best[i].id == largest - of_row);
      CHECK(best[i].logit == *largest);
    }
  }
};

TEST_CASE("cuda: steps that follow the best ids give the bits of others") {
  if (!has_cuda()) return;
  for (const KvCacheType kv_cache : {KvCacheType::f16, KvCacheType::int8}) {
    const Model model = open_on(Device::cuda(), "tiny-qwen2-distill", Scheme::w8a8, kv_cache);
    const auto begin = [&](int64_t tokens) {
      Greedy one{Session(model, {.context = 256})};
      all_logits(one.session, some_ids(model, tokens, tokens), 16);
      return one;
    };
    Greedy first = begin(2), second = begin(44);
    Greedy::step({&first, &second}, 22);  // over the end of a block
    first.next = (first.next + 1) % 100;  // not what was guessed
    Greedy::step({&first, &second}, 2);
    Greedy::step({&second, &first}, 2);
    Greedy::step({&first}, 3);
    first.check();
    second.check();
  }
}

TEST_CASE("cuda: caches that are changed between steps forget what was evaluated ahead") {
  if (!has_cuda()) return;
  const TempDir folder;
  const std::string saved = folder.path("saved");
  const auto after_steps = [](const Model& model) {
    Greedy one{Session(model, {.context = 128})};
    all_logits(one.session, some_ids(model, 10, 1));
    Greedy::step({&one}, 19);  // enough for the next one to be evaluated ahead
    return one;
  };
  {
    const Model model = open_on(Device::cuda(), "tiny-qwen2", Scheme::w8a8);
    Greedy one = after_steps(model);
    one.session.save(saved);
    Greedy branch{one.session.fork(), one.next};
    Greedy::step({&branch}, 2);
    Greedy::step({&one}, 2);
    branch.check();
    one.check();
  }
  {
    const Model model = open_on(Device::cuda(), "tiny-qwen2", Scheme::w8a8);
    Greedy one = after_steps(model);
    one.session.truncate(one.session.size() - 2);
    one.best.clear();
    Greedy::step({&one}, 3);
    one.check();
  }
  for (const bool load : {false, true}) {
    const Model model = open_on(Device::cuda(), "tiny-qwen2", Scheme::w8a8);
    std::optional<Greedy> one = Greedy{Session(model, {.context = 128})};
    all_logits(one->session, some_ids(model, 10, 3));
    Greedy::step({&*one}, 19);
    const int32_t guess = one->next;
    // Another with as many tokens in the same memory, before the token that was guessed.
    one.reset();
    if (load) {
      one = Greedy{Session::load(model, saved)};
    } else {
      one = Greedy{Session(model, {.context = 128})};
      all_logits(one->session, some_ids(model, 29, 2), 16);
    }
    one->next = guess;
    Greedy::step({&*one}, 2);
    one->check();
  }
}

TEST_CASE("cuda: a cut cache continues as if it had never been longer") {
  if (!has_cuda()) return;
  const Model model = open_on(Device::cuda(), "tiny-qwen2-tied", Scheme::w8a8);
  const std::vector<int32_t> ids = some_ids(model, 100, 3);
  Session session(model, {.context = 256});
  all_logits(session, some_ids(model, 200, 4));
  session.truncate(0);
  all_logits(session, std::span(ids).first(70));
  session.truncate(61);
  const std::vector<float> rest = all_logits(session, std::span(ids).subspan(61));
  Session fresh(model, {.context = 256});
  all_logits(fresh, std::span(ids).first(61));
  CHECK(same_bits(rest, all_logits(fresh, std::span(ids).subspan(61))));
}

TEST_CASE("cuda: a model that does not fit, or is not for the device, is an error that says why") {
  if (!has_cuda()) return;
  const auto code_of = [](auto work) {
    try {
      work();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::Internal;
  };
  CHECK(code_of([] { open_on(Device::cuda(), "tiny-qwen2", Scheme::f32); }) ==
        ErrorCode::Unsupported);
  CHECK(code_of([] { open_on(Device::cuda(), "tiny-qwen2", Scheme::w8a8, KvCacheType::f32); }) ==
        ErrorCode::Unsupported);
  CHECK(code_of([] { open_on(Device::cuda(99), "tiny-qwen2", Scheme::w8a8); }) ==
        ErrorCode::Device);
  CHECK(code_of([] { cuda::DeviceMemory(int64_t{1} << 44, "tests"); }) == ErrorCode::OutOfMemory);
  // The device still works.
  const Model model = open_on(Device{}, "tiny-qwen2", Scheme::w8a8);
  CHECK(std::string(model.device()) == "cuda:0");
  CHECK(std::string(open_on(Device{}, "tiny-qwen2", Scheme::f32).device()) == "cpu");
}

TEST_CASE("cuda: sessions give their memory back") {
  if (!has_cuda()) return;
  const Model model = open_on(Device::cuda(), "tiny-qwen2-tied", Scheme::w8a8);
  const auto free_bytes = [] {
    size_t free = 0, total = 0;
    cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return free;
  };
  const auto open_sessions = [&](int count) {
    for (int i = 0; i < count; ++i) Session(model, {.context = 256});
  };
  const Model smaller = open_on(Device::cuda(), "tiny-qwen2-tied", Scheme::w8a8, KvCacheType::int8);
  CHECK(10 * smaller.kv_bytes_per_token() < 7 * model.kv_bytes_per_token());  // heads are short
  open_sessions(1);
  const size_t before = free_bytes();
  open_sessions(1000);
  CHECK(free_bytes() == before);
}
