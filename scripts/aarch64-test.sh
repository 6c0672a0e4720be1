#!/usr/bin/env bash
# Cross-compiles octet for 64-bit ARM and runs its kernels, and tiny models from end to end, under
# QEMU, on a processor for each of the instruction sets. Says what ran, and fails if nothing did.
# usage: aarch64-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-packages.sh g++-aarch64-linux-gnu qemu-user
scripts/aarch64-root.sh
build=build/aarch64
cmake --preset aarch64 >/dev/null
cmake --build --preset aarch64 \
  --target octet_tests_kernels octet_tests_core octet_tests_convert octet_tests_model octet_command

summary=()
status=0

# run CPU PROGRAM ARGUMENT...
run() {
  qemu-aarch64 -cpu "$1" -L build/aarch64-root "$build/bin/$2" "${@:3}"
}

# test_on CPU PROGRAM ARGUMENT...: the program's tests, with doctest's own counts in the summary.
test_on() {
  local log cases failed
  printf '\n== %s, %s\n' "$1" "${*:2}"
  log=$(run "$@" 2>&1) || status=1
  printf '%s\n' "$log"
  read -r cases failed < <(awk -F '[:|]' '/^\[doctest\] test cases:/ { print $2 + 0, $4 + 0 }' \
    <<<"$log") || true
  summary+=("$1, $2: ${cases:-0} test cases ran, ${failed:-0} failed")
  [ "${cases:-0}" -gt 0 ] || status=1
}

for loops in 'neon/gemm sadalp' 'neon_dotprod/gemm sdot' 'neon_i8mm/gemm smmla' 'neon/simd fmla'; do
  read -r source instruction <<<"$loops"
  printf '\n== inner loops of %s\n' "$source"
  scripts/inner_loops.py "$build/kernels/CMakeFiles/octet_kernels.dir/$source.cpp.o" \
    "$instruction" || status=1
done
ctest --preset aarch64 -R '^kernels_symbols$' || status=1
test_on max octet_tests_core -tc='*instruction set*'
test_on max octet_tests_kernels
test_on max octet_tests_model -tc='logits and greedy*,what else is in the batch*'
for machine in 'cortex-a72 neon' 'cortex-a76 neon_dotprod' 'max neon_i8mm'; do
  read -r cpu isa <<<"$machine"
  printf '\n'
  if [[ $(run "$cpu" octet devices --json) == *"\"selected\":\"$isa\""* ]]; then
    summary+=("$cpu: $isa is detected")
  else
    summary+=("$cpu: $isa is NOT detected") && status=1
  fi
  test_on "$cpu" octet_tests_model -tc='logits of every GGUF*'
  test_on "$cpu" octet_tests_convert -tc='the int8 schemes*'
done

printf '\n'
printf '%s\n' "${summary[@]}"
[ $status -eq 0 ] || echo 'FAILED: see above'
exit $status
