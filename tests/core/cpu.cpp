#include "lib/core/cpu.h"

#include <doctest/doctest.h>

#include <string>

#include "lib/core/error.h"

using namespace octet;
using namespace octet::kernels;

namespace {

/// The instruction sets after ref, whichever machine this is compiled for.
constexpr Isa slow{1}, fast{2};
static_assert(num_isas > 2);

}  // namespace

TEST_CASE("OCTET_MAX_ISA lowers the instruction set") {
  const IsaMask cpu = up_to(fast);
  CHECK(select_kernels(cpu, nullptr).isa == fast);
  CHECK(select_kernels(cpu, "").isa == fast);
  CHECK(select_kernels(cpu, name(slow)).isa == slow);
  CHECK(select_kernels(cpu, "ref").isa == Isa::ref);
}

TEST_CASE("an instruction set that the CPU lacks, or that does not exist, is an error") {
  const std::string a = name(slow), b = name(fast), c = name(Isa{3});
  CHECK_THROWS_WITH_AS(select_kernels(up_to(slow), b.c_str()),
                       ("OCTET_MAX_ISA=" + b + ": this CPU has ref, " + a).c_str(), Error);
  CHECK_THROWS_WITH_AS(
      select_kernels(up_to(slow), "sse9"),
      ("OCTET_MAX_ISA=sse9: no such instruction set; known: ref, " + a + ", " + b + ", " + c)
          .c_str(),
      Error);
}
