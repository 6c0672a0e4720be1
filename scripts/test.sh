#!/usr/bin/env bash
# Installs packages, builds and runs every test, and says what ran and what did not.
# usage: test.sh [--all] [PRESET...]   presets of CMakePresets.json: release (unless given), debug,
#                                      tsan
# --all: also a shared build, one that emulates instruction sets, one by clang, one for 64-bit ARM
#        under QEMU, the Python package with its examples, the server from outside, and the CUDA
#        kernels through the compiler; downloads what they need.
set -euo pipefail
cd "$(dirname "$0")/.."
all=
if [ "${1:-}" = --all ]; then
  all=1
  shift
fi
[ $# -gt 0 ] || set -- release

scripts/install-packages.sh ${all:+ccache}

summary=()
status=0
# The tests on real weights look for them in OCTET_SMOLLM2.
unset OCTET_SMOLLM2
if smollm2=$(scripts/get-model.sh); then
  export OCTET_SMOLLM2=$smollm2
else
  summary+=('not run: tests on the weights of SmolLM2, which could not be obtained (see above)')
fi

for preset in "$@"; do
  printf '\n== %s\n' "$preset"
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset"
  ctest --preset "$preset" --no-tests=error || status=1

  # A suite in which nothing ran must not pass, so doctest's own counts are added up.
  log=build/$preset/Testing/Temporary/LastTest.log
  read -r cases failed < <(awk -F '[:|]' '/^\[doctest\] test cases:/ { cases += $2; failed += $4 }
    END { print cases + 0, failed + 0 }' "$log")
  summary+=("$preset: $cases test cases ran, $failed failed")
  [ "$cases" -gt 0 ] || status=1
  # A test that lacks something (an instruction set, a file) prints why it did not run.
  while read -r reason; do
    summary+=("$preset: $reason")
  done < <(grep -o 'not run: .*' "$log" | sort -u)
done

# also NAME COMMAND...: one more part of the tests; its output's last line and what did not run go
# into the summary.
also() {
  printf '\n== %s\n' "$1"
  local log=build/also.log
  "${@:2}" 2>&1 | tee "$log" || status=1
  summary+=("$1: $(tail -n 1 "$log")")
  while read -r reason; do
    summary+=("$1: $reason")
  done < <(grep -o 'not run: .*' "$log" | sort -u)
}

if [ "$all" ]; then
  also 'shared library' scripts/shared-test.sh
  also 'emulated instruction sets' scripts/emulated-test.sh
  also 'clang' scripts/clang-test.sh
  also '64-bit ARM' scripts/aarch64-test.sh
  also 'Python package' scripts/python-test.sh
  also 'server' scripts/test-server.sh
  also 'CUDA kernels' scripts/cuda-check.sh
fi

printf '\n'
printf '%s\n' "${summary[@]}"
[ $status -eq 0 ] || echo 'FAILED: see above'
exit $status
