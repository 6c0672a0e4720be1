#!/usr/bin/env bash
# The CUDA backend on a machine with a GPU that need not have what a build needs.
# usage: gpu-test.sh pack FOLDER   here: builds the preset `cuda` and gathers what a run needs
#        FOLDER/gpu-test.sh run    there: tests, natively and as PTX compiled at load; benchmarks;
#                                  compute-sanitizer. One line a test, the table last.
set -euo pipefail

pack() {
  local folder=$1 build=build/cuda
  cd "$(dirname "$0")/.."
  cmake --preset cuda >/dev/null
  cmake --build --preset cuda --target octet_tests_cuda octet_command
  rm -rf "$folder"
  mkdir -p "$folder/lib" "$folder/data"
  cp scripts/gpu-test.sh "$folder/"
  strip -o "$folder/octet" $build/bin/octet
  strip -o "$folder/octet_tests_cuda" $build/bin/octet_tests_cuda
  cp -r $build/test-data/tiny-*[^z] "$folder/data/"
  find "$folder/data" \( -name '*.unpacked' -o -name '*.tar.xz' \) -delete
  realpath $build/test-data >"$folder/data.path"  # where the tests look for it
  # Small libraries that differ between distributions; OpenBLAS is taken from there.
  ldd $build/bin/octet | awk '/utf8proc|sentencepiece|pcre2/ { print $3 }' |
    xargs -I{} cp -L {} "$folder/lib/"
}

# One line a test case.
tests() {
  local label=$1 list
  shift
  list=$("$@" ./octet_tests_cuda --list-test-cases --no-version | grep '^cuda: ')
  "$@" ./octet_tests_cuda --success=false --no-version >"$out/tests.$label.log" 2>&1 || true
  while read -r name; do
    if grep -qF "$name" <(grep -A1 'TEST CASE' "$out/tests.$label.log" || true); then
      if grep -A4 -F "$name" "$out/tests.$label.log" | grep -q 'not run:'; then
        echo "$label: not run: $name"
      else
        echo "$label: FAILED: $name"
      fi
    else
      echo "$label: passed: $name"
    fi
  done <<<"$list"
  tail -n 3 "$out/tests.$label.log"
}

bench() {
  ./octet bench --shape r1-distill-qwen-1.5b --device cuda --json "$@" |
    python3 -c '
import json, sys
r = json.load(sys.stdin)
p, d = r["prefill"], r["decode"]
print(f"{r[\"isa\"]:6} {r[\"scheme\"]:9} depth {d[\"depth\"]:6}"
      f"  prefill {p[\"tokens\"]:5}: {p[\"tokens_per_second\"][\"median\"]:9.0f}"
      f" ({p[\"tokens_per_second\"][\"min\"]:.0f} to {p[\"tokens_per_second\"][\"max\"]:.0f})"
      f"  decode x{d[\"batch\"]:<3}: {d[\"tokens_per_second\"][\"median\"]:8.0f}"
      f" ({d[\"tokens_per_second\"][\"min\"]:.0f} to {d[\"tokens_per_second\"][\"max\"]:.0f})"
      f"  load {r[\"load_seconds\"]:.2f} s")'
}

run() {
  cd "$(dirname "$0")"
  out=${OUT:-/tmp/gpu-test}
  mkdir -p "$out"
  export LD_LIBRARY_PATH=$PWD/lib
  local expected
  expected=$(cat data.path)
  if [ ! -e "$expected" ]; then
    mkdir -p "$(dirname "$expected")"
    ln -s "$PWD/data" "$expected"
  fi
  date -u
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
  ./octet devices
  tests native env
  tests ptx env CUDA_FORCE_PTX_JIT=1
  for prompt in 512 2048 8192; do bench --prompt $prompt --depth 128 --gen 256; done
  bench --prompt 512 --depth 16000 --gen 128
  for batch in 8 32; do bench --prompt 512 --depth 128 --gen 64 --batch $batch; done
  bench --scheme w8a8-g128 --prompt 2048 --depth 128 --gen 128
  CUDA_FORCE_PTX_JIT=1 bench --prompt 2048 --depth 128 --gen 128
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
      timeout 100 compute-sanitizer --tool $tool --error-exitcode 3 ./octet_tests_cuda \
        -tc='*up to 16 rows*,*however they are cut*' >"$out/$tool.log" 2>&1 &&
        echo "$tool: clean" || echo "$tool: exit $?: $(grep -m1 '=========' "$out/$tool.log")"
    done
  fi
}

"$@"
