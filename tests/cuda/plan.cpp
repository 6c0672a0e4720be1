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
          for (const auto& [architecture, limit] : {std::pair<int, int64_t>{75, 64 * 1024},
                                                    {80, 163 * 1024},
                                                    {86, 99 * 1024},
                                                    {90, 227 * 1024}})
            for (const bool grouped : {false, true}) {
              const DecodePlan plan =
                  plan_decode(rows, 1, n / 16, k, grouped, DecodeInput{can_fuse(rows, k)},
                              architecture, multiprocessors, limit);
              CHECK(8 * plan.columns >= rows);
              CHECK(plan.blocks >= 1);
              CHECK(plan.blocks <= n / 16);
              CHECK(plan.shared_bytes + quantize_shared_bytes <= limit);
              if (can_fuse(rows, k) || plan.ahead == tile_a_pair) CHECK(plan.staged);
            }
        }
  // A token of the 1.5B: weights of gate and up, far ahead; of q, k and v all at once.
  CHECK(plan_decode(1, 1, 1120, 1536, false, {true}, 90, 132, 227 * 1024).ring_bytes ==
        6 * (24 * 1024 + 3 * 8));
  CHECK(plan_decode(1, 1, 128, 1536, false, {true}, 90, 132, 227 * 1024).ring_bytes ==
        24 * 1024 + stage_barrier_bytes);
  // No more blocks of gate and up than have as many tiles as the busiest; teams have them.
  CHECK(plan_decode(1, 1, 1120, 1536, false, {true}, 90, 132, 227 * 1024).blocks == 125);
  CHECK(plan_decode(1, 1, 1120, 1536, false, {true}, 90, 132, 227 * 1024).ahead == by_teams);
  CHECK(plan_decode(1, 1, 9496, 1536, false, {true}, 90, 132, 227 * 1024).blocks == 132);
  CHECK(plan_decode(1, 1, 1120, 1536, false, {true}, 75, 132, 64 * 1024).ahead == in_registers);
  CHECK(plan_decode(1, 1, 1120, 1536, false, {true}, 90, 132, 227 * 1024).early == 3);
  CHECK(plan_decode(1, 1, 1120, 1536, false, {true, 0, false, false, true}, 90, 132, 227 * 1024)
            .early == 2);
  // Slices of down of 35 or, in whole Hadamard blocks, 36 chunks.
  for (const int64_t multiple : {1, 4}) {
    const DecodePlan down =
        plan_decode(1, 1, 96, 8960, false, {true, multiple}, 90, 132, 227 * 1024);
    CHECK(down.ahead == by_teams);
    CHECK(down.slices * down.blocks / row_slices == 128);
    CHECK(team_warps * down.unit_chunks >= slice_chunks(8960, multiple));
  }
  // Blocks of gate and up and of down share a multiprocessor, those of the head do not.
  const auto taken = [](int64_t n_tiles, int64_t k, int64_t multiple = 1) {
    return plan_decode(1, 1, n_tiles, k, false,
                       {true, k > 2048 ? multiple : 0, /*attended=*/n_tiles == 128}, 90, 132,
                       227 * 1024)
               .shared_bytes +
           2 * quantize_shared_bytes + 1024;
  };
  CHECK(taken(1120, 1536) + taken(96, 8960) <= 228 * 1024);
  CHECK(taken(1120, 1536) + taken(96, 8960, 4) <= 228 * 1024);
  CHECK(taken(1120, 1536) + taken(96, 1536) - 2 * quantize_shared_bytes <= 228 * 1024);
  CHECK(taken(128, 1536) + 2 * taken(96, 1536) - 3 * quantize_shared_bytes > 228 * 1024);
  CHECK(2 * taken(9496, 1536) > 228 * 1024);
  // Two blocks share a T4's multiprocessor.
  for (const int64_t k : {1536, 8960})
    CHECK(2 * (plan_decode(1, 1, 1120, k, false, {true}, 75, 40, 64 * 1024).shared_bytes +
               quantize_shared_bytes) <=
          64 * 1024);
  CHECK(can_fuse(1, 8960));
  CHECK(!can_fuse(1, 11008));
  CHECK(!can_fuse(2, 1536));
  CHECK(can_rotate(8960, 512));
  CHECK(!can_rotate(8960, 1024));
  CHECK(can_rotate(11008, 1));
  CHECK(!can_rotate(11008, 256));
}

TEST_CASE("cuda: plans of one row before sm_80 cover it, and find room on a T4") {
  for (int64_t multiprocessors : {8, 40, 132})
    for (int64_t n : {16, 1536, 17920, 151936})
      for (int64_t k : {64, 896, 1536, 2048, 2052, 8960, 9216, 10240})
        for (const int planes : {1, 2})
          for (const bool normed : {false, true}) {
            CAPTURE(k);
            const RowPlan plan = plan_row(planes, n / 16, k, normed, multiprocessors);
            CHECK(plan.blocks >= 1);
            CHECK(plan.blocks <= n / 16);
            CHECK(plan.row_bytes >= row_bytes(k, plan.unit_chunks, plan.warps));
            CHECK(row_bytes(k, plan.unit_chunks, plan.warps) >= k);
            CHECK((!normed || plan.warps == block_warps));
            const int64_t resident = plan.warps > block_warps ? 1 : k > short_row_k ? 2 : 3;
            CHECK(resident * (plan.shared_bytes + quantize_shared_bytes) <= 64 * 1024);
            CHECK(plan.blocks <= resident * multiprocessors);
          }
  CHECK(plan_row(1, 96, 8960, false, 132).stages == 1);
  CHECK(plan_row(1, 1120, 1536, true, 132).blocks == 3 * 132);
  CHECK(plan_row(1, 1120, 1536, true, 40).blocks == 2 * 40);
  CHECK(!plan_row(1, 1120, 1536, true, 132).at_once);
  CHECK(plan_row(1, 128, 1536, true, 132).at_once);
}

TEST_CASE("cuda: a chain's multiplications have as many blocks as find room beside a split's") {
  for (const auto& [multiprocessors, limit] :
       {std::pair<int, int64_t>{40, 64 * 1024}, {132, 227 * 1024}})
    for (int64_t n : {16, 1536, 17920})
      for (int64_t k : {64, 896, 1536, 2048}) {
        CAPTURE(k);
        const RowPlan plan = plan_chained(n / 16, k, true, multiprocessors, limit);
        const int64_t resident = multiprocessors == 40 ? 1 : 2;
        CHECK(plan.blocks == std::min<int64_t>(n / 16, resident * multiprocessors));
        CHECK(plan.shared_bytes >= plan_row(1, n / 16, k, true, multiprocessors).shared_bytes);
        CHECK(resident * (plan.shared_bytes + quantize_shared_bytes + 1024) <= limit);
        CHECK(plan.at_once);
      }
  CHECK(can_chain(1, 1536, 1, false, 75));
  CHECK(!can_chain(1, 1536, 1, false, 80));
  CHECK(!can_chain(2, 1536, 1, false, 75));
  CHECK(!can_chain(1, 8960, 1, false, 75));
  CHECK(!can_chain(1, 1536, 2, false, 75));
  CHECK(!can_chain(1, 1536, 1, true, 75));
  CHECK(can_chain_both(1536, 1536));
  CHECK(!can_chain_both(1536, 256));
}

TEST_CASE("cuda: first-level cache has what shared memory can spare, before sm_80") {
  CHECK(shared_percent(75, 64 * 1024) == 100);
  CHECK(shared_percent(75, 227 * 1024) == 58);
  CHECK(shared_percent(80, 163 * 1024) == 100);
  CHECK(shared_percent(90, 227 * 1024) == 100);
}

TEST_CASE(
    "cuda: prefill plans cover rows and channels, with tiles small enough to fill the device") {
  for (int64_t multiprocessors : {8, 40, 132})
    for (int64_t rows : {33, 64, 512, 2048})
      for (int64_t n : {16, 1536, 17920}) {
        const PrefillPlan plan = plan_prefill(rows, n / 16, true, 90, multiprocessors, 227 * 1024);
        const PrefillTile tile = prefill_tile(plan.size);
        CHECK(plan.row_tiles * tile.rows >= rows);
        CHECK((plan.row_tiles - 1) * tile.rows < rows);
        CHECK(plan.channel_tiles * tile.channels >= n);
      }
  CHECK(plan_prefill(2048, 1120, true, 90, 132, 227 * 1024).size == PrefillSize::large);
  CHECK(plan_prefill(2048, 96, true, 90, 132, 227 * 1024).size == PrefillSize::large);
  CHECK(plan_prefill(512, 96, true, 90, 132, 227 * 1024).size == PrefillSize::small);
  CHECK(plan_prefill(64, 96, true, 90, 132, 227 * 1024).size == PrefillSize::small);
  CHECK(plan_prefill(2048, 1120, false, 90, 132, 227 * 1024).size == PrefillSize::small);
}

TEST_CASE("cuda: every tiled value has a word of its own, and words fill the tiles") {
  constexpr int64_t rows = tiled_rows + 1, k = tiled_k + 4;
  std::set<int64_t> words;
  for (int64_t row = 0; row < 2 * tiled_rows; ++row)
    for (int64_t c = 0; c < tiled_stride(k) / 4; ++c) words.insert(tiled_word(row, c, k));
  CHECK(*words.begin() == 0);
  CHECK(4 * (*words.rbegin() + 1) == tiled_bytes(rows, k));
  CHECK(4 * words.size() == static_cast<std::size_t>(tiled_bytes(rows, k)));
}

TEST_CASE("cuda: tiled values meet their weights: word q of a step's half, swizzled") {
  // Lane q of 4 has of a chunk values 16 q + 8 step + 4 upper_k and the next three (weight_word());
  // their column of the product is 16 upper_k + 4 q of the step's 32.
  for (int row = 0; row < 8; ++row)
    for (int c = 0; c < 32; ++c) {
      const int chunk = c / 16, q = c % 16 / 4, step = c / 2 % 2, upper_k = c % 2;
      const int column = 32 * (2 * chunk + step) + 16 * upper_k + 4 * q;
      CHECK(4 * tiled_place(row, c) == ((column / 16 ^ row) * 16 + column % 16));
    }
}

TEST_CASE("cuda: plans for warpgroups cover rows and channels, and keep to shared memory") {
  constexpr int64_t limit = 227 * 1024;
  for (const bool grouped : {false, true})
    for (int64_t multiprocessors : {8, 114, 132})
      for (int64_t rows : {33, 64, 512, 2048, 8192})
        for (int64_t n : {16, 1536, 2048, 17920}) {
          const WarpgroupPlan plan = plan_warpgroup_prefill(rows, n / 16, grouped, grouped ? 70 : 1,
                                                            multiprocessors, limit);
          const WarpgroupTile tile = warpgroup_tile(plan.size);
          CHECK(plan.row_tiles * tile.rows >= rows);
          CHECK((plan.row_tiles - 1) * tile.rows < rows);
          CHECK(plan.channel_tiles * 64 * tile.warpgroups >= n);
          CHECK(plan.shared_bytes <= limit);
          CHECK((plan.size == WarpgroupSize::of_groups) == grouped);
        }
  const auto size = [&](int64_t rows, int64_t n) {
    return plan_warpgroup_prefill(rows, n / 16, false, 1, 132, limit).size;
  };
  // As measured (docs/performance/cuda.md).
  CHECK(size(2048, 17920) == WarpgroupSize::large);
  CHECK(size(2048, 2048) == WarpgroupSize::large);
  CHECK(size(2048, 1536) == WarpgroupSize::medium);
  CHECK(size(512, 17920) == WarpgroupSize::large);
  CHECK(size(512, 1536) == WarpgroupSize::small);
  CHECK(size(512, 2048) == WarpgroupSize::small);
}

TEST_CASE("cuda: blocks ask for as much shared memory as spreads them over all multiprocessors") {
  constexpr int64_t limit = 227 * 1024, all = 228 * 1024;
  for (int64_t resident = 1; resident <= 4; ++resident) {
    const int64_t bytes = spread_bytes(40 * 1024, 132 * resident, 90, 132, limit);
    CAPTURE(resident);
    CHECK(bytes <= limit);
    CHECK(resident * (bytes + 1024) <= all);
    CHECK((resident + 1) * (bytes + 1024) > all);
  }
  CHECK(spread_bytes(40 * 1024, 132 * 9, 90, 132, limit) == 40 * 1024);
  CHECK(spread_bytes(40 * 1024, 12, 75, 40, 64 * 1024) == 40 * 1024);
}

TEST_CASE("cuda: query rows of a block: many where there are enough of them") {
  CHECK(prefill_query_rows(512 * 6, 2, 132, false) == 64);
  CHECK(prefill_query_rows(2048 * 6, 2, 132, false) == 64);
  CHECK(prefill_query_rows(8192 * 6, 2, 132, false) == 128);
  CHECK(prefill_query_rows(8192 * 6, 2, 132, true) == 64);
  CHECK(prefill_query_rows(2048 * 6, 2, 40, false) == 128);
}

TEST_CASE("cuda: splits cover a sequence, are not too many, and are launched in powers of two") {
  for (const int groups : {1, 4}) {
    int64_t most = 0;
    for (int64_t positions = 1; positions <= 40000; ++positions) {
      const int64_t blocks = ceil_div(positions, kv_block), splits = num_splits(positions, groups);
      REQUIRE(splits <= max_splits);
      REQUIRE(splits * split_blocks(positions, groups) >= blocks);
      REQUIRE((splits - 1) * split_blocks(positions, groups) < blocks);
      most = splits > most ? splits : most;  // of shorter rows, which may be in the same step
      REQUIRE(launched_splits(positions, groups) >= most);
    }
  }
  CHECK(num_splits(64, 1) == 1);
  CHECK(num_splits(65, 1) == 2);
  CHECK(num_splits(256, 4) == 1);
  CHECK(num_splits(257, 4) == 2);
  CHECK(num_splits(16000, 4) == 63);
  CHECK(launched_splits(129, 1) == 4);
  CHECK(launched_splits(129, 4) == 1);
  CHECK(launched_splits(16384, 4) == 64);
  CHECK(split_results(1) == 0);
  CHECK(split_results(64) == 72);
  CHECK(split_groups(75, 64 * 1024) == 1);
  CHECK(split_groups(87, 163 * 1024) == 4);
  CHECK(split_groups(89, 99 * 1024) == 1);
  CHECK(split_groups(90, 227 * 1024) == 4);
}

TEST_CASE("cuda: a block of split attention finds room beside one of q, k, v; two find none") {
  constexpr int64_t limit = 227 * 1024, all = limit + 1024;
  const auto taken = [&](const DecodePlan& plan) {
    return plan.shared_bytes + quantize_shared_bytes + 1024;
  };
  const int64_t attention = sizeof(SplitShared<4>) + 1024;
  CHECK(sizeof(SplitSharedS8<4>) < sizeof(SplitShared<4>));
  for (const int64_t rows : {1, 8, 16}) {
    const int64_t qkv =
        taken(plan_decode(rows, 1, 128, 1536, false, {rows == 1, 0, true}, 90, 132, limit));
    CHECK(qkv + attention <= all);
  }
  const int64_t qkv = taken(plan_decode(1, 1, 128, 1536, false, {true, 0, true}, 90, 132, limit)),
                down = taken(plan_decode(1, 1, 96, 8960, false, {true, 1}, 90, 132, limit));
  CHECK(down + qkv <= all);
  CHECK(down + 2 * qkv > all);
}

TEST_CASE("cuda: warps quantize slices of up to 8 rows, in blocks beside those of gate and up") {
  constexpr int64_t limit = 227 * 1024, all = limit + 1024;
  const auto taken = [](const DecodePlan& plan) {
    return plan.shared_bytes + quantize_shared_bytes + 1024;
  };
  for (int64_t rows = 2; rows <= max_peak_rows; ++rows) {
    CHECK(can_take_peaks(rows, 1, 96, 8960, false, 90, 132, limit));
    const DecodePlan down = plan_decode(rows, 1, 96, 8960, false, {false, 1, false, true}, 90, 132,
                                        limit),
                     gate_up = plan_decode(rows, 1, 1120, 1536, false, {false, 1}, 90, 132, limit);
    CHECK(down.slices == row_slices);
    CHECK(!down.staged);
    CHECK(gate_up.ahead == tile_a_pair);
    CHECK(taken(down) + taken(gate_up) <= all);
  }
  CHECK(!can_take_peaks(9, 1, 96, 8960, false, 90, 132, limit));
  CHECK(!can_take_peaks(4, 2, 96, 8960, false, 90, 132, limit));
  CHECK(!can_take_peaks(8, 1, 96, 8960, true, 90, 132, limit));
  CHECK(!can_take_peaks(8, 1, 96, 8964, false, 90, 132, limit));
  CHECK(!can_take_peaks(8, 1, 96, 1536, false, 90, 132, limit));
  CHECK(!can_take_peaks(8, 1, 96, 8960, false, 75, 40, 64 * 1024));
}

TEST_CASE("cuda: fp16 rows are whole chunks, and tiles cover few rows without waste") {
  CHECK(half_stride(4) == 32);
  CHECK(half_stride(8960) == 8960);
  CHECK(half_stride(8961) == 8992);
  for (int64_t rows = 1; rows <= 64; ++rows) {
    CHECK(8 * f16_columns(rows) >= rows);
    CHECK((rows <= 8 || 8 * f16_columns(rows) < 2 * rows));
  }
  CHECK(f16_columns(2048) == 8);
}
