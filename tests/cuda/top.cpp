// The best ids of rows of logits against a sort.
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
      const OnGpu<int32_t> bad(std::vector<int32_t>{17, 0});
      kernels::cuda::top({rows, vocab, stride, on_gpu.data(), count, partial.data(), out.data(),
                          bad.data(), bad.data() + 1},
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
