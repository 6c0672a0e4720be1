// The pool of KV blocks and the tables over it.
#include "lib/model/kv_pool.h"

#include <doctest/doctest.h>

#include <cstring>
#include <map>

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
};

void fill(const KvPool& pool, const KvBlock* block, int value) {
  std::memset(block->data, value, static_cast<size_t>(pool.layout().block_bytes));
}
bool holds(const KvPool& pool, const KvBlock* block, int value) {
  for (int64_t i = 0; i < pool.layout().block_bytes; ++i)
    if (block->data[i] != static_cast<std::byte>(value)) return false;
  return true;
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

TEST_CASE("discarding a block leaves its neighbours as they are") {
  // Blocks smaller than a page, and not a multiple of one.
  ModelConfig config = small_config();
  config.num_layers = 1;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  KvPool pool(config, KvCacheType::f16);
  KvReservation reservation(pool, 9);
  std::vector<KvBlock*> blocks;
  for (int i = 0; i < 9; ++i) {
    blocks.push_back(pool.take());
    fill(pool, blocks.back(), 10 + i);
  }
  for (size_t i : {1u, 4u, 5u}) pool.release(blocks[i]);
  for (size_t i : {0u, 2u, 3u, 6u, 7u, 8u}) CHECK(holds(pool, blocks[i], 10 + static_cast<int>(i)));
  for (size_t i : {0u, 2u, 3u, 6u, 7u, 8u}) pool.release(blocks[i]);
}
