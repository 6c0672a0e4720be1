#!/usr/bin/env bash
# Installs packages, builds and runs every test, and says what ran and what did not.
# usage: test.sh [PRESET...]   presets of CMakePresets.json: release (unless given), debug, tsan
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- release

scripts/install-packages.sh

# Where the tests on real weights find them; a test that lacks something prints "not run: ...".
OCTET_SMOLLM2=$(scripts/get-model.sh) || OCTET_SMOLLM2=
export OCTET_SMOLLM2

summary=()
status=0
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
  while read -r reason; do
    summary+=("$preset: $reason")
  done < <(grep -o 'not run: .*' "$log" | sort -u)
done

printf '\n'
printf '%s\n' "${summary[@]}"
[ $status -eq 0 ] || echo 'FAILED: see above'
exit $status
