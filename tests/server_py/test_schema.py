"""schemathesis: random and almost right requests made from the server's own OpenAPI document."""

import os
import subprocess
import sys

from conftest import serving

# A request that fulfils the document may still be refused: a prompt can be too long, a schema may
# use a keyword that is not supported. All the other checks hold.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,"
    "unsupported_method"
)


def test_the_document_holds(tiny_model, tmp_path):
    examples = os.environ.get("OCTET_SCHEMA_EXAMPLES", "40")
    # a small context bounds the time of one request
    with serving(tiny_model, "--ctx", "128") as server:
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", server.url + "/openapi.json",
            "--checks", CHECKS, "--max-examples", examples, "--seed", "1",
            "--phases", "examples,coverage,fuzzing", "--mode", "all",
            "--request-timeout", "60", "--suppress-health-check", "all", "--no-color",
        ]  # fmt: skip
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert server.get("/health")
        status = server.metrics()
    assert result.returncode == 0, result.stdout + result.stderr
    assert sum(count for name, count in status.items() if 'status="200"' in name) > 100
