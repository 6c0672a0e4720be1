#!/usr/bin/env bash
# Builds octet with the kernels for AVX-VNNI and AMX emulated (kernels/README.md), and runs the tests
# of the kernels, of models and of the command, which compares these by instruction set. Needs
# AVX512-VNNI.
# usage: emulated-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

grep -qw avx512_vnni /proc/cpuinfo ||
  echo "This processor has no AVX512-VNNI: AVX-VNNI's and AMX's kernels are left out." >&2
cmake --preset emulated >/dev/null
cmake --build --preset emulated --target octet_command octet_tests_kernels octet_tests_model \
  octet_tests_tools
ctest --preset emulated -R '^(kernels|model|tools)$' --no-tests=error
