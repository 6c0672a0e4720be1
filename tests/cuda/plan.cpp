// Layouts and launch planning of the CUDA kernels, without CUDA.
#include <doctest/doctest.h>

#include <cstddef>
#include <set>

#include "kernels/cuda/plan.h"

using namespace octet::kernels;
using namespace octet::kernels::cuda;

TEST_CASE("cuda: every weight has a word of its own, and words fill the matrix") {
  constexpr int64_t n = 48, chunks = 3;
  std::set<int64_t> words;
  for (int64_t row = 0; row < n; ++row)
    for (int64_t c = 0; c < chunks * 16; ++c) words.insert(weight_word(row, c, chunks));
  CHECK(*words.begin() == 0);
  CHECK(*words.rbegin() == n * chunks * 16 - 1);
  CHECK(words.size() == static_cast<std::size_t>(n * chunks * 16));
}

TEST_CASE("cuda: a lane's four words are its rows of mma.m16n8k32 and its values of K") {
  // PTX ISA, m16n8k32: a0 row g, a1 row g + 8, K 4 q..; a2, a3 the same rows, K 16 + 4 q...
  for (int64_t lane = 0; lane < 32; ++lane)
    for (int64_t step = 0; step < 2; ++step) {
      const int64_t g = lane / 4, q = lane % 4, word = step * 128 + lane * 4;
      CHECK(weight_word(2 * g, 4 * q + 2 * step, 1) == word);
      CHECK(weight_word(2 * g + 1, 4 * q + 2 * step, 1) == word + 1);
      CHECK(weight_word(2 * g, 4 * q + 2 * step + 1, 1) == word + 2);
      CHECK(weight_word(2 * g + 1, 4 * q + 2 * step + 1, 1) == word + 3);
    }
}

TEST_CASE("cuda: decode plans cover all tiles, and keep to every device's shared memory") {
  for (int64_t multiprocessors : {8, 40, 132})
    for (int64_t n : {16, 256, 1536, 2048, 17920, 151936})
      for (int64_t k : {64, 896, 1536, 8960})
        for (int64_t rows = 1; rows <= max_decode_rows; ++rows) {
          const int64_t fused_k = can_fuse(rows, k) ? k : 0;
          const DecodePlan plan = plan_decode(rows, n / 16, false, fused_k, multiprocessors);
          CHECK(8 * plan.columns >= rows);
          CHECK(plan.blocks >= 1);
          CHECK(plan.blocks <= ceil_div(n / 16, plan.tiles));
          CHECK(plan.shared_bytes <= max_shared_bytes);
        }
  CHECK(plan_decode(1, 1120, true, 0, 8).tiles == 2);
  // One token of the 1.5B: all but the long input of down is quantized where it is used.
  CHECK(can_fuse(1, 1536));
  CHECK(can_fuse(2, 8960));
  CHECK(!can_fuse(3, 64));
}

TEST_CASE(
    "cuda: prefill plans cover rows and channels, with tiles small enough to fill the device") {
  for (int64_t multiprocessors : {8, 40, 132})
    for (int64_t rows : {33, 64, 512, 2048})
      for (int64_t n : {16, 1536, 17920}) {
        const PrefillPlan plan = plan_prefill(rows, n / 16, multiprocessors);
        const int64_t side = plan.large ? 128 : 64;
        CHECK(plan.row_tiles * side >= rows);
        CHECK((plan.row_tiles - 1) * side < rows);
        CHECK(plan.channel_tiles * side >= n);
        if (plan.large) CHECK(plan.row_tiles * plan.channel_tiles >= multiprocessors);
      }
}

TEST_CASE("cuda: splits cover a sequence, are not too many, and are launched in powers of two") {
  int64_t most = 0;
  for (int64_t positions = 1; positions <= 40000; ++positions) {
    const int64_t blocks = ceil_div(positions, kv_block), splits = num_splits(positions);
    REQUIRE(splits <= max_splits);
    REQUIRE(splits * split_blocks(positions) >= blocks);
    REQUIRE((splits - 1) * split_blocks(positions) < blocks);
    most = splits > most ? splits : most;  // of shorter rows, which may be in the same step
    REQUIRE(launched_splits(positions) >= most);
  }
  CHECK(num_splits(64) == 1);
  CHECK(num_splits(65) == 2);
  CHECK(num_splits(16000) == 63);
  CHECK(launched_splits(129) == 4);
  CHECK(launched_splits(16384) == 64);
  for (int64_t group = 1; group <= max_head_group; ++group)
    CHECK(split_shared_bytes(group, max_head_dim) <= max_shared_bytes);
}
