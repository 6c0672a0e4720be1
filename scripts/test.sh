#!/usr/bin/env bash
# Installs packages, builds and runs every test, and says what ran and what did not.
# usage: test.sh [PRESET...]   presets of CMakePresets.json: release (unless given), debug, tsan
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- release

scripts/install-packages.sh

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

printf '\n'
printf '%s\n' "${summary[@]}"
[ $status -eq 0 ] || echo 'FAILED: see above'
exit $status
