"""What random requests of schemathesis are changed to: models that exist, short answers, and nothing that never ends.

Schemathesis imports this module by SCHEMATHESIS_HOOKS.
"""

from typing import Any

import schemathesis

MODEL = "tiny"
LONGEST = 4  # tokens of an answer
DELETES = ("/api/delete", "/api/models/library/{name}")
NAME = "made-by-fuzzing"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Most requests name a model that exists: others end at its name."""
    path = case.operation.path
    if path == "/api/events":
        case.query = {"follow": "false"}
    elif isinstance(case.query, dict) and "follow" in case.query:
        case.query["follow"] = "false"
    if not isinstance(case.body, dict):
        return
    if path.startswith("/api/models/cache"):
        case.body["all"] = False
    if path == "/api/create" and isinstance(case.body.get("from"), str):
        case.body["from"] = MODEL
    if "model" in case.body and hash(str(case.body)) % 10:
        case.body["model"] = NAME if path in (*DELETES, "/api/create", "/api/pull") else MODEL
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict"):
        if isinstance(case.body.get(name), int):
            case.body[name] = min(case.body[name], LONGEST)
    options = case.body.setdefault("options", {}) if path.startswith(("/api/", "/v1/")) else None
    if isinstance(options, dict):
        options["num_predict"] = LONGEST


@schemathesis.check
def no_fault(context: Any, response: Any, case: Any) -> None:
    """No answer is an error of oprel itself."""
    assert response.status_code != 500, response.text
