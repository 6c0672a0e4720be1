#!/usr/bin/env bash
# Builds octet with the kernels for AVX-VNNI and AMX emulated (kernels/README.md), and runs the tests
# of the kernels and of the command, which compare whole models by instruction set. Needs
# AVX512-VNNI.
# usage: emulated-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset emulated >/dev/null
cmake --build --preset emulated --target octet_command octet_tests_kernels octet_tests_tools
ctest --preset emulated -R '^(kernels|tools)$' --no-tests=error
