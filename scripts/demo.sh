#!/usr/bin/env bash
# From nothing to an answer: installs packages, builds the octet command, obtains a small model,
# converts it to INT8, and streams what it answers. What is there already is left as it is.
# usage: demo.sh [PROMPT]
set -euo pipefail
prompt=${1:-Why is the sky blue?}
cd "$(dirname "$0")/.."

scripts/install-packages.sh
cmake --preset release >/dev/null
cmake --build --preset release --target octet_command
octet=build/release/bin/octet

checkpoint=$(scripts/get-model.sh)
model=models/smollm2-135m.int8.safetensors
[ -e "$model" ] || "$octet" convert "$checkpoint" -o "$model"

"$octet" run "$model" -p "$prompt" -n 64 --greedy --stats
