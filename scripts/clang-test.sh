#!/usr/bin/env bash
# Builds octet with clang and runs the tests of the kernels, of their inner loops and of models.
# usage: clang-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-packages.sh clang
cmake --preset clang >/dev/null
cmake --build --preset clang --target octet_command octet_tests_kernels octet_tests_model
ctest --preset clang -R '^(kernels.*|model)$' --no-tests=error
