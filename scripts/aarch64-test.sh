#!/usr/bin/env bash
# Cross-compiles octet for 64-bit ARM and runs under QEMU: the tests of the kernels on a processor
# that has every instruction set, tiny models from end to end on one for each of them.
# usage: aarch64-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-packages.sh g++-aarch64-linux-gnu qemu-user
scripts/aarch64-root.sh
cmake --preset aarch64 >/dev/null
cmake --build --preset aarch64 --target octet_tests_kernels octet_tests_convert octet_tests_model

status=0
ctest --preset aarch64 -j "$(nproc)" -R '^kernels' || status=1

# run CPU ROOM ARGUMENT...: a room's tests
run() {
  qemu-aarch64 -cpu "$1" -L build/aarch64-root "build/aarch64/bin/octet_tests_$2" "${@:3}" 2>&1
}

# expect COUNT CPU ROOM TESTS: that many of the room's tests have these names, and pass.
expect() {
  local log
  log=$(run "$2" "$3" -tc="$4") || status=1
  printf '%s\n' "$log"
  grep -q "^\[doctest\] test cases: *$1 | *$1 passed" <<<"$log" || status=1
}

for processor in 'cortex-a72 lacks neon_dotprod neon_i8mm' 'cortex-a76 lacks neon_i8mm' 'max lacks'; do
  read -r cpu _ lacks <<<"$processor"
  printf '\n== %s\n' "$cpu"
  missing=$(run "$cpu" kernels -tc='instruction sets that this CPU cannot run*' |
    sed -n 's/^not run: //p' | xargs)
  if [ "$missing" != "$lacks" ]; then
    echo "instruction sets not detected: '$missing', of which it lacks '$lacks'"
    status=1
  fi
  expect 3 "$cpu" model 'logits of every GGUF*,hidden states*,a cache that was cut*'
  expect 1 "$cpu" convert 'the int8 schemes*'
done

[ $status -eq 0 ] || echo 'FAILED: see above'
exit $status
