#!/usr/bin/env bash
# Builds octet as a shared library, installs it, and runs the command and the examples on it; its
# kernels for AVX-VNNI and AMX are emulated, and so tested where AVX512-VNNI is.
# usage: shared-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset shared >/dev/null
cmake --build --preset shared --target octet_command octet_tests_install octet_tests_tools \
  octet_tests_kernels
ctest --preset shared -R '^(install|tools|kernels)$' --no-tests=error
