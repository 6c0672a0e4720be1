#!/usr/bin/env bash
# Builds octet as a shared library, installs it, and runs the command and the examples on it.
# usage: shared-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset shared >/dev/null
cmake --build --preset shared --target octet_command octet_tests_install octet_tests_tools
ctest --preset shared -R '^(install|tools)$' --no-tests=error
