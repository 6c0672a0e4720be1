#pragma once
// What the probes of every AArch64 instruction set share. All of it has internal linkage.
#include <arm_neon.h>

namespace octet::kernels {
namespace {

/// Independent chains: enough to hide the latency of a multiply-add on four units.
inline constexpr int chains = 16;

/// Hides the values from the compiler, which would run equal chains as one, or none at all.
template <class Register>
void hide(Register (&values)[chains]) {
#pragma GCC unroll 16
  for (Register& value : values) asm volatile("" : "+w"(value));
}

/// Runs sum = add(sum) on every chain, `iterations` times.
template <class Register, class Add>
void run_chains(uint64_t iterations, Register zero, Add add) {
  Register sum[chains];
#pragma GCC unroll 16
  for (Register& value : sum) value = zero;
  hide(sum);
  for (uint64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < chains; ++j) sum[j] = add(sum[j]);
  hide(sum);
}

}  // namespace
}  // namespace octet::kernels
