#!/usr/bin/env bash
# Builds octet with the kernels for AVX-VNNI and AMX emulated (kernels/README.md), and runs the tests
# of the kernels and of the command, which compare whole models by instruction set, and those of a
# model's independence of threads and chunks. Needs AVX512-VNNI.
# usage: emulated-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

grep -qw avx512_vnni /proc/cpuinfo ||
  echo "This processor has no AVX512-VNNI: AVX-VNNI's and AMX's kernels are left out." >&2
cmake --preset emulated >/dev/null
cmake --build --preset emulated --target octet_command octet_tests_kernels octet_tests_tools octet_tests_model
ctest --preset emulated -R '^(kernels|tools)$' --no-tests=error
build/emulated/bin/octet_tests_model --source-file="*independence*" --no-intro
