#!/usr/bin/env bash
# The CUDA backend on a machine with a GPU that need not have what a build needs.
# usage: gpu-test.sh pack FOLDER   here: builds the preset `cuda` and gathers what a run needs
#        FOLDER/gpu-test.sh run       there: tests, natively and as PTX compiled at load, one line
#                                     each; then the benchmarks
#        FOLDER/gpu-test.sh sanitize  there: compute-sanitizer over tiny models
#        FOLDER/gpu-test.sh accuracy MODEL  there: a SmolLM2 on the device against the CPU
#        FOLDER/gpu-test.sh profile   there: times of the kernels of a decoding and a prefill step
set -euo pipefail

pack() {
  local folder=$1 build=build/cuda
  cd "$(dirname "$0")/.."
  # Code for the H200, and sm_75's as PTX, so that what a T4 would run can be run there.
  cmake --preset cuda "-DCMAKE_CUDA_ARCHITECTURES=75-virtual;90a-real" >/dev/null
  cmake --build --preset cuda --target octet_tests_cuda octet_command
  rm -rf "$folder"
  mkdir -p "$folder/lib" "$folder/data"
  cp scripts/gpu-test.sh scripts/gpu_accuracy.py "$folder/"
  strip -o "$folder/octet" $build/bin/octet
  strip -o "$folder/octet_tests_cuda" $build/bin/octet_tests_cuda
  # What tests/cuda reads.
  cp -r $build/test-data/tiny-{qwen2,qwen2-tied,qwen2-distill,qwen3,llama} "$folder/data/"
  find "$folder/data" \( -name '*.unpacked' -o -name '*.tar.xz' \) -delete
  cp -r $build/test-data/{lora,smollm2} "$folder/data/"
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
  ./octet bench --shape r1-distill-qwen-1.5b --device cuda --rotate "${rotate:-off}" --json "$@" >"$out/bench.json" || return 0
  python3 - "$out/bench.json" <<'PYTHON'
import json, sys
r = json.load(open(sys.argv[1]))
def rate(part):
    t = part["tokens_per_second"]
    return f"{t['median']:9.0f} ({t['min']:.0f} to {t['max']:.0f})"
p, d = r["prefill"], r["decode"]
print(f"{r['isa']:6} {r['scheme']:9} depth {d['depth']:6}  prefill {p['tokens']:5}: {rate(p)}"
      f" in {1000 * p['tokens'] / p['tokens_per_second']['median']:.1f} ms"
      f"  decode x{d['batch']:<3}: {rate(d)}  load {r['load_seconds']:.2f} s")
PYTHON
}

# The most memory of the device in use during a benchmark, the driver's own for a process included.
memory() {
  local process used=0 now before
  memory_used() { nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | head -n 1; }
  before=$(memory_used)
  bench --prompt 512 --depth 128 --gen 256 &
  process=$!
  while kill -0 $process 2>/dev/null; do
    now=$(memory_used)
    used=$((now > used ? now : used))
    sleep 0.1
  done
  echo "device memory: $before MiB in use before, $used MiB at most"
}

benches() {
  for prompt in 512 2048 8192; do bench --prompt $prompt --depth 128 --gen 256; done
  bench --prompt 512 --depth 16000 --gen 128
  for batch in 8 32; do bench --prompt 512 --depth 128 --gen 64 --batch $batch; done
}

prepare() {
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
}

run() {
  prepare
  date -u
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
  ./octet devices
  tests native env
  tests ptx env CUDA_FORCE_PTX_JIT=1
  benches
  memory
  bench --scheme w8a8-g128 --prompt 2048 --depth 128 --gen 128
  CUDA_FORCE_PTX_JIT=1 bench --prompt 2048 --depth 128 --gen 128
  echo 'with the CPU'"'"'s bits (--exact):'
  bench --exact --prompt 2048 --depth 128 --gen 128
  echo 'with rotated weights, as converted files have them; they are rotated while loading here:'
  rotate=on bench --prompt 512 --depth 128 --gen 128
}

# The tools side by side: racecheck takes minutes.
sanitize() {
  prepare
  for tool in memcheck racecheck initcheck synccheck; do
    if timeout 300 compute-sanitizer --tool $tool --error-exitcode 3 ./octet_tests_cuda \
      -tc='*up to 16 rows*,*however they are cut*,*do not depend on what else*,*different adapters*' \
      >"$out/$tool.log" 2>&1; then
      echo "$tool: clean"
    else
      echo "$tool: exit status $?: $(grep -m 3 '=========' "$out/$tool.log" || true)"
    fi &
  done
  wait
}

accuracy() {
  prepare
  for scheme in w8a8 w8a8-g128; do
    echo "$scheme:"
    ./gpu_accuracy.py ./octet "$1" data/smollm2/text.txt data/smollm2/greedy.json --scheme $scheme
  done
}

# Kernels of one step: the warm-up's prompt (281) and first token (144) are skipped.
profile() {
  prepare
  for step in "decode 144 --prompt 1 --gen 4" "prefill 282 --prompt 2048 --gen 1"; do
    read -r name count options <<<"$step"
    # shellcheck disable=SC2086
    ncu --csv --clock-control none --metrics gpu__time_duration.sum --kernel-name-base demangled \
      -k 'regex:^(?!.*repack)' --launch-skip 425 --launch-count "$count" \
      ./octet bench --shape r1-distill-qwen-1.5b --device cuda --rotate off \
      --depth 128 --reps 1 $options \
      >"$out/$name.csv" 2>"$out/$name.err" || true
    echo "== $name"
    python3 - "$out/$name.csv" <<'PYTHON'
import collections, csv, sys
lines = [l for l in open(sys.argv[1]) if l.startswith('"')]
rows, total = collections.OrderedDict(), 0.0
for row in csv.DictReader(lines):
    name = row["Kernel Name"].split("::")[-1].split("(")[0]
    time = float(row["Metric Value"].replace(",", "")) / (1 if row["Metric Unit"] == "us" else 1000)
    count, sum_ = rows.get((name, row["Grid Size"]), (0, 0.0))
    rows[name, row["Grid Size"]] = count + 1, sum_ + time
    total += time
for (name, grid), (count, time) in rows.items():
    print(f"{count:4} x {time / count:8.2f} us  {time:8.1f}  {name} {grid}")
print(f"sum {total:.1f} us")
PYTHON
  done
}

"$@"
