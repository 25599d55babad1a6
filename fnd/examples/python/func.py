"""Greets whoever the caller names: {"name": "Ada"} in, {"message": "Hello, Ada"} out."""

from __future__ import annotations

import io
import json
import logging

from fdk import context, response


def handler(ctx: context.InvokeContext, data: io.BytesIO) -> response.Response:
    """Answer one call; `data` is its body."""
    body = data.getvalue()
    try:
        name = json.loads(body)["name"] if body else "world"
    except (ValueError, LookupError, TypeError):
        logging.getLogger().warning("the body has no name: %r", body[:200])
        name = "world"
    return response.Response(
        ctx,
        response_data=json.dumps({"message": f"Hello, {name}"}),
        headers={"Content-Type": "application/json"},
    )
