"""Greets whoever the caller names: {"name": "Ada"} in, {"message": "Hello, Ada"} out.

A handler as AWS Lambda has it. Called through a trigger, it gets an HTTP request as an event of API Gateway's, and
describes a response; called by name, it gets what the caller sends, and what it returns is the answer.
"""

from __future__ import annotations

import base64
import json
import logging
from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one call."""
    if "requestContext" not in event:
        return greet(event)
    body = event.get("body", "{}")
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    try:
        asked = json.loads(body)
    except ValueError:
        logging.getLogger().warning("the body is not JSON: %r", body[:200])
        asked = {}
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(greet(asked)),
    }


def greet(asked: Any) -> dict[str, Any]:
    """Return the greeting."""
    name = asked.get("name", "world") if isinstance(asked, dict) else "world"
    return {"message": f"Hello, {name}"}
