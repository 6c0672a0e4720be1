#pragma once
// The rows of kernels/kernels.def, for tests that run over every variant of an operation.
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/table.h"

namespace octet::kernels {

template <class Function>
struct Row {
  std::string name;
  Isa isa;
  Function function;
};

/// The variants of `op`, a member of Table, that this CPU can run. Function is the op's type.
template <class Function>
std::vector<Row<Function>> runnable_rows(const char* op) {
  std::vector<Row<Function>> rows;
  const IsaMask cpu = detect_cpu();
  [[maybe_unused]] auto add = [&](const char* row_op, Isa isa, const char* name, auto* function) {
    if constexpr (std::is_same_v<decltype(function), Function>)
      if (std::strcmp(op, row_op) == 0 && (cpu & bit(isa))) rows.push_back({name, isa, function});
  };
#define OCTET_OP(op, type)
#define OCTET_KERNEL(op, isa, function) add(#op, Isa::isa, #function, &function);
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
  return rows;
}

}  // namespace octet::kernels
