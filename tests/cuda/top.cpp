// The best ids of rows of logits against a sort, and the step that they lead to.
#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

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
                          int64_t count, const OnGpu<Best>& partial, const OnGpu<Best>& out,
                          const OnGpu<int32_t>& turns, const OnGpu<int32_t>& bad) {
  return {rows,         vocab,      stride,         logits.data(),
          nullptr,      count,      partial.data(), {{out.data(), bad.data() + 1}, {}},
          turns.data(), bad.data(), nullptr};
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
      const OnGpu<Best> partial(rows * kernels::cuda::top_blocks * row_best), out(rows * row_best);
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
  const OnGpu<Best> partial(rows * kernels::cuda::top_blocks * row_best), even(rows * row_best),
      odd(rows * row_best);
  const OnGpu<int32_t> bad(std::vector<int32_t>{5, 0, 0}), turns(rows);
  std::byte* const* blocks = nullptr;
  const OnGpu<StepRow> step(
      std::vector<StepRow>{{1, 10, 0, 10, blocks}, {2, 20, 1, 20, blocks}, {3, 63, 2, 63, blocks}});
  const auto run = [&] {
    kernels::cuda::Top task = top_of(rows, vocab, vocab, on_gpu, 1, partial, even, turns, bad);
    task.results[1] = {odd.data(), bad.data() + 2};
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
  const OnGpu<Best> partial(kernels::cuda::top_blocks * row_best), out(row_best);
  const OnGpu<int32_t> bad(2), turns(1);
  kernels::cuda::Top task = top_of(1, vocab, vocab, on_gpu, count, partial, out, turns, bad);
  task.left_out = left_out.data();
  kernels::cuda::top(task, default_queue());
  const std::vector<Best> best = out.host();
  for (size_t i = 0; i < count; ++i) CHECK(best[i].id == wanted[i]);
}
