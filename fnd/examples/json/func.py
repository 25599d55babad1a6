"""Greets whoever the caller names: {"name": "Ada"} in, {"message": "Hello, Ada"} out.

Each call is one line of standard input, a JSON object; its answer is one line of standard output. What goes to standard
error is the function's log.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def handle(body: str) -> str:
    """Answer one call."""
    try:
        name = json.loads(body)["name"] if body else "world"
    except (ValueError, LookupError, TypeError):
        print(f"the body has no name: {body[:200]!r}", file=sys.stderr)
        name = "world"
    return json.dumps({"message": f"Hello, {name}"})


def main() -> None:
    """Answer calls until there are no more."""
    for line in sys.stdin:
        call: dict[str, Any] = json.loads(line)
        answer = {
            "body": handle(call["body"]),
            "content_type": "application/json",
            "protocol": {"status_code": 200, "headers": {}},
        }
        print(json.dumps(answer), flush=True)


main()
