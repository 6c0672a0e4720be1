// The best ids of rows of logits against a sort, and the step that they lead to.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "lib/core/weight_sum.h"
#include "tests/cuda/device.h"

using namespace octet;
using namespace octet::testing;
using Best = kernels::cuda::Candidate;

namespace {

/// Ids by value down, then by id up.
std::vector<int32_t> sorted_ids(const float* logits, int64_t vocab, int64_t count) {
  std::vector<int32_t> ids(static_cast<size_t>(vocab));
  std::iota(ids.begin(), ids.end(), 0);
  const auto last = ids.begin() + std::min(count, vocab);
  std::partial_sort(ids.begin(), last, ids.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  ids.erase(last, ids.end());
  return ids;
}

/// Of rows one after the other; whose results do not take turns.
kernels::cuda::Top top_of(int64_t rows, int64_t vocab, int64_t stride, const OnGpu<float>& logits,
                          int64_t count, const OnGpu<uint64_t>& partial, const OnGpu<Best>& out,
                          const OnGpu<int32_t>& turns, const OnGpu<int32_t>& bad) {
  kernels::cuda::Top top{};
  top.rows = rows;
  top.vocab = vocab;
  top.stride = stride;
  top.logits = logits.data();
  top.count = count;
  top.partial = partial.data();
  top.results[0] = {out.data(), bad.data() + 1, nullptr};
  top.turns = turns.data();
  top.first_bad = bad.data();
  return top;
}

}  // namespace

TEST_CASE("cuda: the best logits come in order, equal ones by their ids") {
  if (!has_cuda()) return;
  constexpr int64_t rows = 3, row_best = kernels::cuda::max_top;
  std::mt19937 generator(7);
  // 300,000: more than a block's threads hold.
  for (const int64_t vocab : {1, 5, 63, 65, 5000, 300000}) {
    const int64_t stride = vocab + 3;
    std::vector<float> logits(static_cast<size_t>(rows * stride),
                              std::numeric_limits<float>::infinity());  // behind a row
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t i = 0; i < vocab; ++i)  // with many equal ones, and of both signs
        logits[static_cast<size_t>(row * stride + i)] =
            static_cast<float>(static_cast<int>(generator() % 2001) - 1000) / 64.0f;
    const OnGpu<float> on_gpu(logits);
    for (const int64_t count : {1, 40, 64}) {
      CAPTURE(vocab);
      CAPTURE(count);
      const OnGpu<uint64_t> partial(rows * kernels::cuda::top_blocks * row_best);
      const OnGpu<Best> out(rows * row_best);
      const OnGpu<int32_t> bad(std::vector<int32_t>{17, 0}), turns(rows);
      kernels::cuda::top(top_of(rows, vocab, stride, on_gpu, count, partial, out, turns, bad),
                         default_queue());
      const std::vector<Best> best = out.host();
      CHECK(bad.host()[1] == 17);
      for (int64_t row = 0; row < rows; ++row) {
        const float* of_row = logits.data() + row * stride;
        const std::vector<int32_t> wanted = sorted_ids(of_row, vocab, count);
        const Best* got = best.data() + row * row_best;
        bool equal = true;
        for (size_t i = 0; i < wanted.size(); ++i)
          equal = equal && got[i].id == wanted[i] && got[i].logit == of_row[wanted[i]];
        for (int64_t i = vocab; i < count; ++i) equal = equal && got[i].id == -1;
        CHECK(equal);
      }
    }
  }
}

TEST_CASE("cuda: the best ids make the step that follows, whose results go elsewhere") {
  if (!has_cuda()) return;
  using kernels::cuda::StepRow;
  constexpr int64_t rows = 3, vocab = 100, row_best = kernels::cuda::max_top;
  std::vector<float> logits(rows * vocab);
  const int32_t best[] = {7, 99, 0};
  for (int64_t row = 0; row < rows; ++row)
    logits[static_cast<size_t>(row * vocab + best[row])] = 1.0f;
  const OnGpu<float> on_gpu(logits);
  const OnGpu<uint64_t> partial(rows * kernels::cuda::top_blocks * row_best);
  const OnGpu<Best> even(rows * row_best), odd(rows * row_best);
  const OnGpu<int32_t> bad(std::vector<int32_t>{5, 0, 0}), turns(rows);
  std::byte* const* blocks = nullptr;
  const OnGpu<StepRow> step(
      std::vector<StepRow>{{1, 10, 0, 10, blocks}, {2, 20, 1, 20, blocks}, {3, 63, 2, 63, blocks}});
  const auto run = [&] {
    kernels::cuda::Top task = top_of(rows, vocab, vocab, on_gpu, 1, partial, even, turns, bad);
    task.results[1] = {odd.data(), bad.data() + 2, nullptr};
    task.step = step.data();
    kernels::cuda::top(task, default_queue());
  };
  run();
  CHECK(bad.host() == std::vector<int32_t>{kernels::cuda::none_bad, 5, 0});
  CHECK(turns.host() == std::vector<int32_t>{1, 1, 1});
  for (int64_t row = 0; row < rows; ++row) {
    const auto i = static_cast<size_t>(row);
    const StepRow next = step.host()[i];
    CHECK(next.id == best[row]);
    CHECK(next.position == std::vector<int32_t>{11, 21, 64}[i]);
    CHECK(next.chunk_position == next.position);
    CHECK(next.chunk == row);
    CHECK(even.host()[i * row_best].id == best[row]);
    CHECK(odd.host()[i * row_best].logit == 0);  // not written yet
  }
  run();
  CHECK(bad.host() == std::vector<int32_t>{kernels::cuda::none_bad, 5, kernels::cuda::none_bad});
  CHECK(turns.host() == std::vector<int32_t>{0, 0, 0});
  CHECK(step.host()[1].position == 22);
  CHECK(odd.host()[2 * row_best].id == best[2]);
}

TEST_CASE("cuda: ids that are left out are not among the best") {
  if (!has_cuda()) return;
  constexpr int64_t vocab = 200, count = 64, row_best = kernels::cuda::max_top;
  std::vector<float> logits(vocab);
  for (int64_t i = 0; i < vocab; ++i) logits[static_cast<size_t>(i)] = static_cast<float>(i % 50);
  std::vector<uint32_t> bits(7);
  const auto leave_out = [&](int32_t id) { bits[static_cast<size_t>(id / 32)] |= 1u << (id % 32); };
  for (const int32_t id : {49, 48, 199, 64}) leave_out(id);
  for (int32_t id = 100; id < 180; ++id) leave_out(id);
  std::vector<int32_t> wanted(vocab);
  std::iota(wanted.begin(), wanted.end(), 0);
  std::erase_if(wanted,
                [&](int32_t id) { return bits[static_cast<size_t>(id / 32)] >> (id % 32) & 1; });
  std::stable_sort(wanted.begin(), wanted.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  const OnGpu<float> on_gpu(logits);
  const OnGpu<uint32_t> left_out(bits);
  const OnGpu<uint64_t> partial(kernels::cuda::top_blocks * row_best);
  const OnGpu<Best> out(row_best);
  const OnGpu<int32_t> bad(2), turns(1);
  kernels::cuda::Top task = top_of(1, vocab, vocab, on_gpu, count, partial, out, turns, bad);
  task.left_out = left_out.data();
  kernels::cuda::top(task, default_queue());
  const std::vector<Best> best = out.host();
  for (size_t i = 0; i < count; ++i) CHECK(best[i].id == wanted[i]);
}

TEST_CASE(
    "cuda: many logits that might be among the best, whichever threads and slices have them") {
  if (!has_cuda()) return;
  // The best are 4,000 neighbours, or all that a slice or a thread has, or all the same.
  constexpr int64_t vocab = 40000, count = 64, row_best = kernels::cuda::max_top, kinds = 5;
  constexpr int64_t slices = kernels::cuda::top_blocks;
  std::vector<float> logits(static_cast<size_t>(kinds * vocab));
  const auto is_good = [](int64_t kind, int64_t id) {
    switch (kind) {
      case 0:
        return id >= 20000 && id < 24000;
      case 1:
        return id / 32 % slices == 5;
      case 2:
        return id / 32 / slices % 8 == 3 && id % 32 == 7;
      case 3:
        return true;
      default:
        return id % 3 > 0;
    }
  };
  for (int64_t kind = 0; kind < kinds; ++kind)
    for (int64_t id = 0; id < vocab; ++id)
      logits[static_cast<size_t>(kind * vocab + id)] =
          kind == 3
              ? 2.5f
              : (is_good(kind, id) ? 5.0f : -5.0f) + static_cast<float>(id * 7919 % 4096) / 4096;
  const OnGpu<float> on_gpu(logits);
  const OnGpu<uint64_t> partial(kinds * slices * row_best);
  const OnGpu<Best> out(kinds * row_best);
  const OnGpu<int32_t> bad(2), turns(kinds);
  kernels::cuda::top(top_of(kinds, vocab, vocab, on_gpu, count, partial, out, turns, bad),
                     default_queue());
  const std::vector<Best> best = out.host();
  for (int64_t kind = 0; kind < kinds; ++kind) {
    CAPTURE(kind);
    const std::vector<int32_t> wanted = sorted_ids(logits.data() + kind * vocab, vocab, count);
    bool equal = true;
    for (size_t i = 0; i < wanted.size(); ++i)
      equal = equal && best[static_cast<size_t>(kind * row_best) + i].id == wanted[i];
    CHECK(equal);
  }
}

TEST_CASE("cuda: the sum of all weights, without the ids that are left out") {
  if (!has_cuda()) return;
  constexpr int64_t rows = 4, vocab = 151936, count = 64, row_best = kernels::cuda::max_top;
  const std::vector<float> temperatures = {0.6f, 0.01f, 100.0f, 1.0f};
  std::mt19937 generator(3);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(static_cast<size_t>(rows * vocab));
  for (float& logit : logits) logit = normal(generator);
  std::fill_n(logits.begin() + 3 * vocab + 100, 5000, -std::numeric_limits<float>::infinity());
  std::vector<uint32_t> bits(static_cast<size_t>(vocab / 32));
  for (size_t i = 0; i < bits.size(); i += 3) bits[i] = 0x00ff00ff;
  bits[40] = ~0u;
  const OnGpu<float> on_gpu(logits), of_rows(temperatures), weights(rows);
  const OnGpu<uint32_t> left_out(bits);
  const OnGpu<uint64_t> partial(rows * kernels::cuda::top_blocks * row_best);
  const OnGpu<float> partial_weights(rows * kernels::cuda::top_blocks);
  const OnGpu<Best> out(rows * row_best);
  const OnGpu<int32_t> bad(2), turns(rows);
  kernels::cuda::Top task = top_of(rows, vocab, vocab, on_gpu, count, partial, out, turns, bad);
  task.left_out = left_out.data();
  task.temperatures = of_rows.data();
  task.partial_weights = partial_weights.data();
  task.results[0].weights = weights.data();
  kernels::cuda::top(task, default_queue());
  const std::vector<float> got = weights.host();
  for (int64_t row = 0; row < rows; ++row) {
    const float* of_row = logits.data() + row * vocab;
    const double best = out.host()[static_cast<size_t>(row * row_best)].logit;
    double sum = 0;
    for (int64_t id = 0; id < vocab; ++id)
      if ((bits[static_cast<size_t>(id / 32)] >> (id % 32) & 1) == 0)
        sum += std::exp((of_row[id] - best) / temperatures[static_cast<size_t>(row)]);
    CAPTURE(row);
    CHECK(std::abs(got[static_cast<size_t>(row)] / sum - 1) < weight_sum_error / 2);
  }
}

TEST_CASE("cuda: the best that a multiplication has found is a step's result and begins the next") {
  if (!has_cuda()) return;
  using kernels::cuda::StepRow;
  // As best_logit.cuh orders 2.5 and id 77.
  const OnGpu<uint64_t> best(std::vector<uint64_t>{uint64_t{0xc0200000} << 32 | ~uint32_t{77}});
  const OnGpu<float> logits(1);
  const OnGpu<uint64_t> partial(1);
  const OnGpu<Best> out(1);
  const OnGpu<int32_t> bad(std::vector<int32_t>{9, 0}), turns(1);
  const OnGpu<StepRow> step(std::vector<StepRow>{{5, 10, 0, 10, nullptr}});
  kernels::cuda::Top task = top_of(1, 100, 100, logits, 1, partial, out, turns, bad);
  task.step = step.data();
  task.best = best.data();
  kernels::cuda::top(task, default_queue());
  CHECK(out.host()[0].id == 77);
  CHECK(out.host()[0].logit == 2.5f);
  CHECK(best.host()[0] == 0);
  CHECK(bad.host() == std::vector<int32_t>{kernels::cuda::none_bad, 9});
  CHECK(turns.host()[0] == 1);
  CHECK(step.host()[0].id == 77);
  CHECK(step.host()[0].position == 11);
  CHECK(step.host()[0].chunk_position == 11);
}
