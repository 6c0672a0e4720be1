#!/usr/bin/env bash
# Installs the packages of Debian 12 that octet is built with, and those named; only what is missing.
# usage: install-packages.sh [PACKAGE...]
set -euo pipefail

build=(cmake g++ ninja-build pkg-config)
libraries=(libopenblas-dev libpcre2-dev libsentencepiece-dev libutf8proc-dev libxsimd-dev
  libcli11-dev nlohmann-json3-dev libboost-dev)
tests=(doctest-dev libbenchmark-dev)
model_download=(python3 python3-pip)
packages=("${build[@]}" "${libraries[@]}" "${tests[@]}" "${model_download[@]}" "$@")

fail() {
  printf 'install-packages.sh: %s\n' "$@" >&2
  exit 1
}

if ! command -v apt-get >/dev/null; then
  fail 'no apt-get here: this script knows Debian and Ubuntu only.' \
    "Build by hand as README.md says, with what these Debian packages hold: ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null ||
    fail "not root, and no sudo here. As root, run: apt-get install ${missing[*]}"
  as_root=(sudo)
fi
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 \
    -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "$@"
}

echo "installing ${missing[*]}"
# A failed update is not the end: the lists of an earlier one may be enough.
apt_get update || true
apt_get install -y --no-install-recommends "${missing[@]}" >/dev/null ||
  fail "apt-get could not install: ${missing[*]}" \
    'Its own message is above; without a network, the packages must be there beforehand.'
