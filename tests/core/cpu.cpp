#include "lib/core/cpu.h"

#include <doctest/doctest.h>

#include "lib/core/error.h"

using namespace octet;
using namespace octet::kernels;

TEST_CASE("OCTET_MAX_ISA lowers the instruction set") {
  const IsaMask cpu = up_to(Isa::avx512vnni);
  CHECK(select_kernels(cpu, nullptr).isa == Isa::avx512vnni);
  CHECK(select_kernels(cpu, "").isa == Isa::avx512vnni);
  CHECK(select_kernels(cpu, "avx2").isa == Isa::avx2);
  CHECK(select_kernels(cpu, "ref").isa == Isa::ref);
}

TEST_CASE("an instruction set that the CPU lacks, or that does not exist, is an error") {
  CHECK_THROWS_WITH_AS(select_kernels(up_to(Isa::avx2), "avx512vnni"),
                       "OCTET_MAX_ISA=avx512vnni: this CPU has ref, avx2", Error);
  CHECK_THROWS_WITH_AS(select_kernels(up_to(Isa::avx2), "sse9"),
                       "OCTET_MAX_ISA=sse9: no such instruction set; known: ref, avx2, avx512vnni, amx",
                       Error);
}
