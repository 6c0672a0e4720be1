#include "lib/core/huge_memory.h"

#include <octet/error.h>

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include "lib/core/huge_pages.h"

using namespace octet;

TEST_CASE("huge memory starts on a boundary of 2 MB, is zero, and moves") {
  HugeMemory memory((size_t{5} << 20) + 3);
  CHECK(reinterpret_cast<uintptr_t>(memory.data()) % (size_t{2} << 20) == 0);
  CHECK(memory.size() == (size_t{5} << 20) + 3);
  CHECK(memory.data()[0] == std::byte{0});
  CHECK(memory.data()[memory.size() - 1] == std::byte{0});
  memory.data()[memory.size() - 1] = std::byte{7};

  HugeMemory moved(std::move(memory));
  CHECK(moved.data()[moved.size() - 1] == std::byte{7});
  HugeMemory other(1);
  other = std::move(moved);
  CHECK(other.size() == (size_t{5} << 20) + 3);
  CHECK(HugeMemory(0).size() == 0);
}

TEST_CASE("huge memory that cannot be had is OutOfMemory") {
  for (const size_t bytes : {std::numeric_limits<size_t>::max(), size_t{1} << 60}) {
    ErrorCode code{};
    try {
      HugeMemory memory(bytes);
    } catch (const Error& error) {
      code = error.code();
    }
    CHECK(code == ErrorCode::OutOfMemory);
  }
}

TEST_CASE("the pages under memory are found") {
  const size_t bytes = size_t{16} << 20;
  HugeMemory memory(bytes), small(bytes);
  madvise(small.data(), bytes, MADV_NOHUGEPAGE);
  CHECK_FALSE(in_huge_pages(memory.data()));  // none are there yet
  std::memset(memory.data(), 1, bytes);
  std::memset(small.data(), 1, bytes);
  CHECK_FALSE(in_huge_pages(small.data() + bytes / 2));
  CHECK_FALSE(in_huge_pages(nullptr));
  std::ifstream setting("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string enabled;
  std::getline(setting, enabled);
  if (enabled.empty() || enabled.find("[never]") != std::string::npos)
    MESSAGE("not run: this system has no pages of 2 MB");
  else
    CHECK(in_huge_pages(memory.data() + bytes / 2));
}
