"""One run of `octet bench`, for the scripts that measure: needs the release build of octet, or
OCTET, its path."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
OCTET = os.environ.get("OCTET", str(ROOT / "build/release/bin/octet"))


def bench(options, environment=None):
    """The results of `octet bench OPTIONS --json` with these variables set besides."""
    result = subprocess.run([OCTET, "bench", *options, "--json"], stdout=subprocess.PIPE, check=True,
                            env={**os.environ, **(environment or {})})
    return json.loads(result.stdout)
