"""The dialects of the daemon's HTTP API, and what they share."""

from pydantic import BaseModel

# FastAPI's models of OpenAPI documents are built when one is used, not when it is imported, which takes 100 ms.
BaseModel.model_config["defer_build"] = True
import fastapi  # noqa: E402, F401

del BaseModel.model_config["defer_build"]
