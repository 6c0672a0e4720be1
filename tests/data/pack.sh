#!/usr/bin/env bash
# Packs reference data made with Hugging Face code (tests/data/README.md) into archives here.
# usage: pack.sh FOLDER_OF_FIXTURES NAME...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
fixtures=$1
shift
for name in "$@"; do
  rm -f "$here/$name".tar.xz*
  tar -C "$fixtures" --sort=name --mtime=2026-01-01 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    -c "$name" |
    xz -9e | split -b 3000000 -d -a 1 - "$here/$name.tar.xz."
  [ -e "$here/$name.tar.xz.1" ] || mv "$here/$name.tar.xz.0" "$here/$name.tar.xz"
done
