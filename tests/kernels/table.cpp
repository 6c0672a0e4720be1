#include "kernels/table.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace octet::kernels;

namespace {

struct TableRow {
  std::string op;
  Isa isa;
  std::string function;
};

std::vector<TableRow> all_rows() {
  return {
#define OCTET_OP(op, type)
#define OCTET_KERNEL(op, isa, function) {#op, Isa::isa, #function},
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
  };
}

/// What a processor may lack of the slower ones.
#if defined(__x86_64__)
constexpr IsaMask may_lack = bit(Isa::avxvnni);
#else
constexpr IsaMask may_lack = 0;
#endif

}  // namespace

TEST_CASE("instruction sets that this CPU cannot run are reported, not passed over") {
  for (int i = 0; i < num_isas; ++i) {
    const auto isa = static_cast<Isa>(i);
    if (!(detect_cpu() & bit(isa))) std::printf("not run: %s\n", name(isa));
  }
}

TEST_CASE("detect_cpu holds ref, and an instruction set only with nearly all slower ones") {
  const IsaMask cpu = detect_cpu();
  CHECK((cpu & bit(Isa::ref)) != 0);
  CHECK((cpu | may_lack) == (up_to(highest(cpu)) | may_lack));
}

TEST_CASE("masks") {
  CHECK(up_to(Isa::ref) == bit(Isa::ref));
  CHECK(up_to(Isa{2}) == (bit(Isa{0}) | bit(Isa{1}) | bit(Isa{2})));
  for (int i = 0; i < num_isas; ++i)
    CHECK(highest(up_to(static_cast<Isa>(i))) == static_cast<Isa>(i));
}

TEST_CASE("parse_isa is the reverse of name, and refuses anything else") {
  std::set<std::string> names;
  for (int i = 0; i < num_isas; ++i) {
    const auto isa = static_cast<Isa>(i);
    Isa parsed = Isa::ref;
    REQUIRE(parse_isa(name(isa), parsed));
    CHECK(parsed == isa);
    names.insert(name(isa));
  }
  CHECK(names.size() == num_isas);
  const Isa last = static_cast<Isa>(num_isas - 1);
  Isa untouched = last;
  for (const char* text : {"", "avx", "avx22", "AVX2", "avx512", "ref ", "NEON", "neon_"})
    CHECK_FALSE(parse_isa(text, untouched));
  CHECK(untouched == last);
}

TEST_CASE("every operation with kernels has a ref kernel") {
  std::set<std::string> with_rows;
  for (const TableRow& row : all_rows()) with_rows.insert(row.op);
  const Table table = make_table(bit(Isa::ref));
#define OCTET_OP(op, type) CHECK_MESSAGE((table.op != nullptr || !with_rows.contains(#op)), #op);
#define OCTET_KERNEL(op, isa, function)
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
  CHECK(table.isa == Isa::ref);
  CHECK(table.activation_xor == 0);
}

TEST_CASE("make_table takes each operation from the fastest instruction set of the mask") {
  for (int i = 0; i < num_isas; ++i) {
    const IsaMask mask = up_to(static_cast<Isa>(i));
    const Table table = make_table(mask);
    const Table again = make_table(mask);
    CHECK(std::memcmp(&table, &again, sizeof table) == 0);
    CHECK(table.isa == static_cast<Isa>(i));
    CHECK(table.activation_xor == activation_xor(table.isa));
    // The table as it should be: rows in any order, the highest instruction set wins.
    Table expected{};
    for (int isa = 0; isa <= i; ++isa) {
#define OCTET_OP(op, type)
#define OCTET_KERNEL(op, row_isa, function) \
  if (Isa::row_isa == static_cast<Isa>(isa)) expected.op = function;
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
    }
#define OCTET_OP(op, type) CHECK_MESSAGE((table.op == expected.op), #op);
#define OCTET_KERNEL(op, isa, function)
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
  }
}

TEST_CASE("what a processor may lack makes no difference to faster instruction sets") {
  for (int i = 0; i < num_isas; ++i) {
    const IsaMask mask = up_to(static_cast<Isa>(i));
    if (highest(mask) <= highest(may_lack | bit(Isa::ref))) continue;
    const Table table = make_table(mask), without = make_table(mask & ~may_lack);
    CHECK_MESSAGE(std::memcmp(&table, &without, sizeof table) == 0, name(static_cast<Isa>(i)));
  }
}

TEST_CASE("a kernel is listed once, and its name ends with its instruction set") {
  std::set<std::string> functions;
  std::set<std::pair<std::string, Isa>> variants;
  for (const TableRow& row : all_rows()) {
    CHECK_MESSAGE(functions.insert(row.function).second, row.function);
    CHECK_MESSAGE(variants.insert({row.op, row.isa}).second, row.function);
    const std::string end = std::string("_") + name(row.isa);
    CHECK_MESSAGE(row.function.starts_with(row.op), row.function);
    CHECK_MESSAGE(row.function.ends_with(end), row.function);
  }
}

TEST_CASE("an instruction set that biases activations has every int8 multiplication of its own") {
  // A ref kernel in such a table would read activations that it does not expect.
  for (int i = 0; i < num_isas; ++i) {
    const auto isa = static_cast<Isa>(i);
    if (activation_xor(isa) == 0) continue;
    std::set<std::string> missing = {"gemm_s8s8_f32", "gemm_s8s8_f32_g128", "gemm_s8s8_s32"};
    for (const TableRow& row : all_rows())
      if (row.isa == isa) missing.erase(row.op);
    CHECK_MESSAGE((missing.empty() || make_table(up_to(isa)).isa != isa), std::string(name(isa)));
  }
}
