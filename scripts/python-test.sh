#!/usr/bin/env bash
# Installs the Python package as a user would, from its folder into an environment of its own
# (build/venv), and runs its tests and the examples with Ray.
# usage: python-test.sh [PYTEST_ARGUMENT...]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-packages.sh ccache python3-dev python3-venv
venv=build/venv
[ -x $venv/bin/pip ] || python3 -m venv $venv
# The same compiler and flags as the preset `release`: a compiler cache has the objects already.
CXX=c++ CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 \
  $venv/bin/pip --disable-pip-version-check install --quiet './python[test,ray]' \
  --config-settings build-dir=../build/python \
  --config-settings cmake.define.OCTET_WARNINGS_AS_ERRORS=ON
RAY_USAGE_STATS_ENABLED=0 $venv/bin/python -m pytest -rs python/tests "$@"
