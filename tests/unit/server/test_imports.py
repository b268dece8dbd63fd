"""What a daemon imports before its first request: its start takes as long as that."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
before = {*sys.modules}
import oprel.server.daemon.serve
print(json.dumps([*({*sys.modules} - before)]))
"""
# What some requests need, and the first one seldom does.
USED_LATER = {
    *("httpcore", "httpx", "huggingface_hub", "jinja2", "jsonschema", "prometheus_client", "prompt_toolkit"),
    *("referencing", "rich", "xllamacpp", "yaml", "zstandard"),
    *("oprel.client", "oprel.downloader.hub", "oprel.runtime.schemas.grammar_schema", "oprel.utils.regex"),
    *("oprel.server.api.anthropic", "oprel.server.api.openai", "oprel.server.api.oprel", "oprel.server.api.responses"),
}


def test_a_daemon_starts_with_what_its_first_request_needs() -> None:
    ended = subprocess.run([sys.executable, "-P", "-c", PROGRAM], capture_output=True, check=True)
    modules = {*json.loads(ended.stdout)}
    assert USED_LATER & modules == set()
    assert len(modules) <= 760
    assert len([name for name in modules if name.startswith("oprel.")]) <= 325
