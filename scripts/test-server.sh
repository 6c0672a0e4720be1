#!/usr/bin/env bash
# Tests `octet serve` from outside: the openai client, schemathesis, slow and hostile clients, many
# clients at a time, and the chat page in headless Chromium. Needs a build; installs what else it needs.
# usage: test-server.sh [PRESET [PYTEST-ARGUMENT...]]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
[ $# -eq 0 ] || shift

scripts/install-packages.sh curl python3-venv chromium chromium-driver fonts-dejavu-core

venv=build/server-venv
requirements=tests/server_py/requirements.txt
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$venv"
fi

case $preset in debug | tsan) export OCTET_SANITIZED=1 ;; esac
cmake --build --preset "$preset" --target octet_command
OCTET_BUILD=$PWD/build/$preset exec "$venv/bin/python" -m pytest -q -p no:cacheprovider \
  tests/server_py "$@"
