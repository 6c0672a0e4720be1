// The probes: what they read and count. How fast they are is for bench/.
#include <doctest/doctest.h>

#include <cstdint>
#include <random>

#include "lib/core/aligned.h"
#include "tests/kernels/rows.h"

using namespace octet;
using namespace octet::kernels;

TEST_CASE("read_sum reads every word once") {
  constexpr uint64_t most = 512 * 37;
  std::mt19937_64 generator(13);
  const AlignedBuffer<uint64_t> words(most / 8);
  for (size_t i = 0; i < words.size(); ++i) words[i] = generator();
  for (const auto& kernel : runnable_rows<ReadFunction>("read_sum"))
    for (uint64_t bytes : {uint64_t{0}, uint64_t{512}, uint64_t{1024}, most}) {
      uint64_t sum = 0;
      for (uint64_t i = 0; i < bytes / 8; ++i) sum += words[i];
      CHECK_MESSAGE(kernel.function(words.data(), bytes) == sum, kernel.name);
    }
}

TEST_CASE("the peaks count operations by iterations") {
  for (const char* op : {"peak_int8", "peak_fp32"})
    for (const auto& kernel : runnable_rows<PeakFunction>(op)) {
      const uint64_t one = kernel.function(1);
      CHECK_MESSAGE(one > 0, kernel.name);
      CHECK_MESSAGE(kernel.function(0) == 0, kernel.name);
      CHECK_MESSAGE(kernel.function(1000) == 1000 * one, kernel.name);
    }
}
