#include "kernels/table.h"

namespace octet::kernels {
namespace {

#define OCTET_ISA(isa) #isa,
constexpr const char* isa_names[num_isas] = {OCTET_ISAS(OCTET_ISA)};
#undef OCTET_ISA

bool equal(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}

}  // namespace

const char* name(Isa isa) {
  return isa_names[static_cast<int>(isa)];
}

bool parse_isa(const char* text, Isa& isa) {
  for (int i = 0; i < num_isas; ++i) {
    if (!equal(isa_names[i], text)) continue;
    isa = static_cast<Isa>(i);
    return true;
  }
  return false;
}

Table make_table(IsaMask mask) {
  Table table{};
  // Rows of one operation stand in rising order in kernels.def and what it includes.
#define OCTET_OP(op, type)
#define OCTET_KERNEL(op, isa, function) \
  if (mask & bit(Isa::isa)) table.op = function;
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
  table.isa = highest(mask);
  table.activation_xor = activation_xor(table.isa);
  return table;
}

}  // namespace octet::kernels
