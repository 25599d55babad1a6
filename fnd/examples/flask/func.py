"""Greets whoever the caller names, as a web application: {"name": "Ada"} in, {"message": "Hello, Ada"} out.

All that is below the function's URL comes here, by any method. Any other framework will do that a server can serve on
the Unix socket which FND_SOCKET names.
"""

from __future__ import annotations

import os

import waitress
from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.route("/", methods=["GET", "POST"])
def greet() -> Response:
    """Answer one call."""
    asked = request.get_json(silent=True)
    name = asked.get("name", "world") if isinstance(asked, dict) else "world"
    return jsonify(message=f"Hello, {name}")


@app.get("/<name>")
def greet_by_path(name: str) -> Response:
    """Answer one call to a path below the function's URL."""
    return jsonify(message=f"Hello, {name}")


if __name__ == "__main__":
    threads = int(os.environ.get("FND_CONCURRENCY", "1"))
    waitress.serve(app, unix_socket=os.environ["FND_SOCKET"], threads=threads)
