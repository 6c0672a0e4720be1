#!/usr/bin/env bash
# Compiles the CUDA kernels for a T4, an Orin and an H100 (and as PTX, which is all that the sm_75
# build needs to run elsewhere), without a GPU: fails on static shared memory over 48 KB, and on
# registers that spill where they did not before. Takes nvcc from the path, or from PyPI.
# usage: cuda-check.sh
set -euo pipefail
cd "$(dirname "$0")/.."

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)
if [ -z "$nvcc" ]; then
  scripts/install-packages.sh python3-venv
  venv=build/cuda-venv
  if [ ! -e $venv/ready ]; then
    python3 -m venv $venv
    $venv/bin/pip --disable-pip-version-check install --quiet nvidia-{cuda-{nvcc,crt,runtime,cccl},nvvm}==13.0.*
    touch $venv/ready
  fi
  nvcc=$(echo $PWD/$venv/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)
fi
flags=(-std=c++17 -I. -Iinclude -fmad=false --expt-relaxed-constexpr)

# What is known to spill, and how many bytes at most: the kernel, ARCHITECTURE, bytes.
known=$(cat <<'END'
attention_prefill_kernel<128,2> sm_75 128
attention_prefill_kernel<128,2> sm_87 48
attention_prefill_kernel<128,2> sm_90a 48
attention_split_kernel<CacheF16,4> sm_90a 48
attention_split_kernel<CacheS8,4> sm_90a 84
linear_teams_kernel<true> sm_90a 80
linear_teams_slice_groups_kernel sm_90a 48
END
)

mkdir -p build/cuda-check
status=0 kernels=0
for architecture in sm_75 sm_87 sm_90a; do
  printf '%s\0' kernels/cuda/*.cu | xargs -0 -P "$(nproc)" -I{} bash -c '
    out=build/cuda-check/$(basename "$1" .cu).'$architecture'
    "$2" "${@:3}" -gencode=arch=compute_'${architecture#sm_}',code='$architecture' -Xptxas -v -c "$1" -o "$out.o" >"$out.log" 2>&1 ||
      { cat "$out.log"; exit 255; }' _ {} "$nvcc" "${flags[@]}"
  # NAME SPILLED SHARED of each kernel.
  report=$(cat build/cuda-check/*.$architecture.log | c++filt | sed -n '
    s/.*Compiling entry function .\(void \)\{0,1\}\(.*\). for .sm_.*/\2/
    t kernel
    s/.* \([0-9]*\) bytes spill stores.*/spill \1/p
    s/.* \([0-9]*\) bytes smem.*/shared \1/p
    b
    :kernel
    s/octet::kernels::cuda:://g
    s/(anonymous namespace):://g
    s/(Fused)//g
    s/>(.*/>/
    s/(.*//
    s/ //g
    s/^/kernel /p' | awk '
    function flush() { if (name) print name, spill + 0, shared + 0 }
    $1 == "kernel" { flush(); name = $2; spill = shared = 0 }
    $1 == "spill" { spill = $2 }
    $1 == "shared" { shared = $2 }
    END { flush() }')
  while read -r name spill shared; do
    kernels=$((kernels + 1))
    most=$(awk -v n="$name" -v a=$architecture '$1 == n && $2 == a { print $3 }' <<<"$known")
    if [ "$spill" -gt "${most:-0}" ]; then
      echo "$architecture: $name spills $spill bytes, at most ${most:-0} expected"
      status=1
    fi
    if [ "$shared" -gt 49152 ]; then
      echo "$architecture: $name has $shared bytes of static shared memory, at most 49152 expected"
      status=1
    fi
  done <<<"$report"
done
for source in kernels/cuda/*.cu; do
  "$nvcc" "${flags[@]}" -gencode arch=compute_75,code=compute_75 -ptx "$source" \
    -o "build/cuda-check/$(basename "$source" .cu).ptx"
done
echo "$kernels kernels compiled by $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/nvcc \1/p'), sm_75 also as PTX"
[ "$kernels" -gt 0 ] || status=1
exit $status
