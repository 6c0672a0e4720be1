// The pool of KV blocks and the tables over it.
#include "lib/model/kv_pool.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "lib/core/error.h"
#include "lib/model/kv_cache.h"

using namespace octet;

namespace {

ModelConfig small_config() {
  ModelConfig config;
  config.num_layers = 3;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  return config;
}

/// The host's memory, with an account of what is taken.
class Counting : public KvMemory {
 public:
  int64_t blocks_per_slab() const override { return host_kv_memory().blocks_per_slab(); }
  std::byte* take(int64_t bytes, int64_t positions) override {
    if (taken + bytes > limit)
      fail(ErrorCode::OutOfMemory, positions, " positions need ", bytes, " bytes, there are ",
           limit - taken);
    taken += bytes;
    std::byte* const memory = host_kv_memory().take(bytes, positions);
    sizes[memory] = bytes;
    return memory;
  }
  void give_back(std::byte* memory, int64_t bytes) noexcept override {
    REQUIRE(sizes[memory] == bytes);
    sizes.erase(memory);
    taken -= bytes;
    host_kv_memory().give_back(memory, bytes);
  }
  void discard(std::byte* memory, int64_t bytes) noexcept override {
    discarded.push_back(memory);
    host_kv_memory().discard(memory, bytes);
  }
  void copy(std::byte* to, const std::byte* from, int64_t bytes) override {
    host_kv_memory().copy(to, from, bytes);
  }
  void read(std::byte* host, const std::byte* from, int64_t bytes) override {
    copy(host, from, bytes);
  }
  void write(std::byte* to, const std::byte* host, int64_t bytes) override {
    copy(to, host, bytes);
  }

  int64_t taken = 0, limit = int64_t{1} << 30;
  std::map<std::byte*, int64_t> sizes;
  std::vector<std::byte*> discarded;
};

void fill(const KvPool& pool, const KvBlock* block, int value) {
  pool.write(*block, std::vector(static_cast<size_t>(pool.layout().block_bytes),
                                 static_cast<std::byte>(value))
                         .data());
}
bool holds(const KvPool& pool, const KvBlock* block, int value) {
  std::vector<std::byte> bytes(static_cast<size_t>(pool.layout().block_bytes));
  pool.read(bytes.data(), *block);
  return std::all_of(bytes.begin(), bytes.end(),
                     [&](std::byte byte) { return byte == static_cast<std::byte>(value); });
}

}  // namespace

TEST_CASE("memory for blocks comes with a reservation and goes with it") {
  Counting memory;
  KvPool pool(small_config(), KvCacheType::f16, memory);
  const int64_t block = pool.layout().block_bytes;
  CHECK(block == 64 * 3 * 2 * 2 * 32 * 2);  // positions, layers, k and v, heads, dimensions, fp16
  {
    KvReservation first(pool, 3);
    CHECK(memory.taken == 3 * block);
    KvBlock* const a = pool.take();
    {
      KvReservation second(pool, 2);
      CHECK(memory.taken == 5 * block);
    }
    CHECK(memory.taken == 3 * block);
    pool.release(a);
    {
      KvReservation second(pool, 2);
      std::vector<KvBlock*> all;
      for (int i = 0; i < 5; ++i) all.push_back(pool.take());
      CHECK_THROWS_WITH_AS(pool.take(),
                           "KV cache: 5 of 5 reserved blocks are in use, and one more is wanted",
                           Error);
      for (KvBlock* taken : all) pool.release(taken);
    }
  }
  CHECK(memory.taken == 0);
}

TEST_CASE("a block outlives the reservation it came with, as long as another one stands for it") {
  Counting memory;
  KvPool pool(small_config(), KvCacheType::f16, memory);
  auto first = std::make_unique<KvReservation>(pool, 2);
  auto donor = std::make_unique<KvCache>(pool, 128);
  donor->extend(0, 100);
  fill(pool, donor->blocks()[0], 7);
  KvReservation second(pool, 2);
  KvCache heir(pool, 128);
  heir.append_shared(donor->blocks()[0]);
  donor.reset();
  first.reset();
  CHECK(pool.blocks_in_use() == 1);
  CHECK(holds(pool, heir.blocks()[0], 7));
  heir.extend(64, 64);
  CHECK(pool.blocks_in_use() == 2);
}

TEST_CASE("what is reserved cannot exceed the memory, and a failure changes nothing") {
  Counting memory;
  KvPool pool(small_config(), KvCacheType::f16, memory);
  memory.limit = 4 * pool.layout().block_bytes;
  KvReservation first(pool, 3);
  CHECK_THROWS_WITH_AS(pool.reserve(2), "128 positions need 98304 bytes, there are 49152", Error);
  KvReservation second(pool, 1);
  CHECK(pool.blocks_reserved() == 4);
  try {
    pool.reserve(INT64_MAX / 1000);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::OutOfMemory);
  }
}

TEST_CASE("a shared block is copied when one of its owners writes, and only then") {
  KvPool pool(small_config(), KvCacheType::int8);
  KvReservation reservation(pool, 8);
  KvCache a(pool, 256), b(pool, 256);
  a.extend(0, 100);
  fill(pool, a.blocks()[0], 1);
  fill(pool, a.blocks()[1], 2);
  for (KvBlock* block : a.blocks()) b.append_shared(block);
  CHECK(pool.blocks_in_use() == 2);

  b.extend(100, 1);  // its last block is half full
  CHECK(pool.blocks_in_use() == 3);
  CHECK(a.blocks()[0] == b.blocks()[0]);
  REQUIRE(a.blocks()[1] != b.blocks()[1]);
  CHECK(holds(pool, b.blocks()[1], 2));
  fill(pool, b.blocks()[1], 3);
  CHECK(holds(pool, a.blocks()[1], 2));
  a.extend(100, 60);  // now a's own, and one more
  CHECK(pool.blocks_in_use() == 4);
  CHECK(holds(pool, a.blocks()[1], 2));

  b.release_from(64);
  CHECK(pool.blocks_in_use() == 3);
  b.extend(10, 5);
  CHECK(pool.blocks_in_use() == 4);
  CHECK(holds(pool, b.blocks()[0], 1));
}

TEST_CASE("of the free slabs one keeps its memory, and is taken next") {
  Counting memory;
  KvPool pool(small_config(), KvCacheType::f16, memory);
  KvReservation reservation(pool, 24);  // three slabs
  std::vector<KvBlock*> blocks;
  for (int i = 0; i < 24; ++i) blocks.push_back(pool.take(i > 0 ? blocks.back() : nullptr));
  const auto release = [&](int first, int end) {
    for (int i = first; i < end; ++i) pool.release(blocks[static_cast<size_t>(i)]);
  };
  release(8, 16);
  CHECK(memory.discarded.empty());
  release(0, 8);
  release(16, 24);
  CHECK(memory.discarded == std::vector{blocks[0]->data, blocks[16]->data});
  KvBlock* const next = pool.take();
  CHECK(next == blocks[8]);
  pool.release(next);
  CHECK(memory.discarded.size() == 2);
  CHECK(pool.take() == next);
  CHECK(pool.take(next) == blocks[9]);
  release(8, 10);
}

TEST_CASE("discarding a slab leaves its neighbours as they are") {
  // Slabs of 6 KB: they share pages.
  ModelConfig config = small_config();
  config.num_kv_heads = 1;
  config.head_dim = 1;
  KvPool pool(config, KvCacheType::f16);
  KvReservation reservation(pool, 24);
  std::vector<KvBlock*> blocks;
  for (int i = 0; i < 24; ++i) {
    blocks.push_back(pool.take(blocks.empty() ? nullptr : blocks.back()));
    fill(pool, blocks.back(), 10 + i);
  }
  for (int i = 16; i < 24; ++i) pool.release(blocks[static_cast<size_t>(i)]);  // keeps its memory
  blocks.resize(16);
  const auto kept = [&](int i) { return i < 8 || i == 12; };
  for (int i = 0; i < 16; ++i)
    if (!kept(i)) pool.release(blocks[static_cast<size_t>(i)]);
  CHECK(holds(pool, blocks[12], 22));
  pool.release(blocks[12]);
  for (int i = 0; i < 16; ++i)
    if (kept(i) && i != 12) CHECK(holds(pool, blocks[static_cast<size_t>(i)], 10 + i));
  CHECK(pool.blocks_in_use() == 8);
  for (int i = 0; i < 16; ++i)
    if (kept(i) && i != 12) pool.release(blocks[static_cast<size_t>(i)]);
}

TEST_CASE("a head's keys of neighbouring blocks are one piece of memory") {
  KvPool pool(small_config(), KvCacheType::f16);
  const KvLayout& layout = pool.layout();
  KvReservation reservation(pool, 20);  // slabs of 8, 8 and 4
  KvCache a(pool, 2048), b(pool, 2048);
  const auto pieces = [&](const KvCache& cache) {
    int count = 1;
    for (int64_t i = 1; i < std::ssize(cache.blocks()); ++i) {
      const bool beside = cache.keys(i, 2, 1) == cache.keys(i - 1, 2, 1) + layout.part_bytes;
      CHECK(beside == (cache.values(i, 0, 0) == cache.values(i - 1, 0, 0) + layout.part_bytes));
      count += beside ? 0 : 1;
    }
    return count;
  };
  // They grow in turns.
  for (int64_t length = 0; length < 8 * 64; length += 64) {
    a.extend(length, 64);
    b.extend(length, 64);
  }
  CHECK(pieces(a) == 1);
  CHECK(pieces(b) == 1);
  a.extend(8 * 64, 3 * 64);
  CHECK(pieces(a) == 2);
  // What is left is taken where it is, and every block has bytes of its own.
  b.extend(8 * 64, 64);
  for (int64_t i = 0; i < 11; ++i)
    fill(pool, a.blocks()[static_cast<size_t>(i)], static_cast<int>(i));
  for (int64_t i = 0; i < 9; ++i)
    fill(pool, b.blocks()[static_cast<size_t>(i)], static_cast<int>(100 + i));
  for (int64_t i = 0; i < 11; ++i)
    CHECK(holds(pool, a.blocks()[static_cast<size_t>(i)], static_cast<int>(i)));
  for (int64_t i = 0; i < 9; ++i)
    CHECK(holds(pool, b.blocks()[static_cast<size_t>(i)], static_cast<int>(100 + i)));
  // A block of one slab is copied to another one, whose parts lie further apart.
  a.release_from(10 * 64);
  KvCache c(pool, 64);
  c.append_shared(b.blocks()[0]);
  c.extend(32, 1);
  CHECK(c.blocks()[0]->stride != b.blocks()[0]->stride);
  CHECK(holds(pool, c.blocks()[0], 100));
}
