#!/usr/bin/env bash
# Unpacks Debian's arm64 libraries that octet is built with, and what they need to run, into
# build/aarch64-root: the sysroot of the preset `aarch64`. Asks no one to be root and leaves the
# machine's own packages and architectures alone: apt works on lists of its own.
# usage: aarch64-root.sh
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD/build/aarch64-root
packages=(libopenblas-dev libpcre2-dev libsentencepiece-dev libutf8proc-dev libxsimd-dev
  libcli11-dev nlohmann-json3-dev libboost-dev doctest-dev)
stamp=$root/.octet-packages
[ "$(cat "$stamp" 2>/dev/null)" != "${packages[*]}" ] || exit 0

apt=$PWD/build/aarch64-apt
rm -rf "$root" "$apt"
mkdir -p "$root" "$apt"/{lists,cache}/partial
: >"$apt/status"  # nothing is installed: all that the packages depend on is downloaded too
# No sandbox user: it could not write here.
apt_get() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
    -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::State::lists="$apt/lists" \
    -o Dir::Cache="$apt/cache" -o Dir::Cache::archives="$apt/cache" \
    -o Acquire::Languages=none -o Debug::NoLocking=1 \
    -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "$@"
}

echo "downloading ${packages[*]} for arm64"
apt_get update
apt_get install -y --no-install-recommends --download-only "${packages[@]}" >/dev/null
for package in "$apt"/cache/*.deb; do
  dpkg-deb --extract "$package" "$root"
done

# What update-alternatives would do: OpenBLAS by its plain names.
libraries=$root/usr/lib/aarch64-linux-gnu
ln -sf openblas-pthread/libopenblas.so{,.0} "$libraries"
ln -sf ../openblas-pthread/pkgconfig/openblas.pc "$libraries/pkgconfig"
rm -rf "$apt"
echo "${packages[*]}" >"$stamp"
