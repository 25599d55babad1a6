"""The daemon as the other commands see it: requests over its control socket, failures as errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from fnd.cli.control_socket import CONNECT_TIMEOUT, connect, not_reachable
from fnd.cli.exits import BadUsage, NotReachable, RequestFailed

READ_TIMEOUT: Final = 60.0
PER_PAGE: Final = 100
_ERROR_BODY_LIMIT: Final = 64 * 1024


class Daemon:
    """One daemon, by its control socket. Close it, or use it in a `with`. Every method raises NotReachable."""

    def __init__(self, control: Path) -> None:
        """Find it. Raises NotReachable if nobody answers."""
        self.control = control
        connect(control).close()  # tells better than httpx what is wrong
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(control)),
            base_url="http://localhost",
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: str | float | None) -> Any:
        """Return what a GET answers, decoded."""
        return self._json("GET", path, params=_query(query))

    def post(self, path: str, body: object = None, **query: str | float | None) -> Any:
        """Return what a POST answers, decoded; None if it answers nothing."""
        return self._json("POST", path, params=_query(query), json=body)

    def put(self, path: str, body: object) -> Any:
        """Return what a PUT answers, decoded."""
        return self._json("PUT", path, json=body)

    def delete(self, path: str) -> None:
        """Delete what is at `path`."""
        self._json("DELETE", path)

    def items(self, path: str, **query: str | None) -> Iterator[dict[str, Any]]:
        """Yield a whole list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, per_page=PER_PAGE, **query)
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def lines(
        self, method: str, path: str, content: Iterable[bytes] | None = None, **query: str | float | None
    ) -> Iterator[dict[str, Any]]:
        """Yield the objects of an NDJSON answer as they come, for as long as they come."""
        # What is being followed may be quiet for hours.
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT)
        with self.stream(method, path, content=content, params=_query(query), timeout=timeout) as response:
            raise_for_status(response)
            for line in response.iter_lines():
                if line:
                    yield json.loads(line)

    @contextmanager
    def following(self, path: str, patience: float) -> Iterator[Iterator[dict[str, Any]]]:
        """Give the objects of an NDJSON stream that is open from the beginning of the context.

        Raises NotReachable if none comes for `patience` seconds.
        """
        timeout = httpx.Timeout(patience, connect=CONNECT_TIMEOUT)
        with self.stream("GET", path, timeout=timeout) as response:
            raise_for_status(response)
            yield (json.loads(line) for line in response.iter_lines() if line)

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """Make a request whose answer is read piece by piece, whatever its status."""
        try:
            with self._http.stream(method, path, **options) as response:
                yield response
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _json(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except UnicodeEncodeError as error:
            raise BadUsage(f"{error.object!r:.80} is no text: it holds bytes that are no UTF-8") from error
        raise_for_status(response)
        return response.json() if response.content else None

    def _unreachable(self, error: httpx.HTTPError) -> NotReachable:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return not_reachable(self.control, str(error))
        if isinstance(error, httpx.ReadTimeout):
            return NotReachable(f"The daemon at {self.control} has not answered within {READ_TIMEOUT:g} s")
        return NotReachable(f"The daemon at {self.control} ended the conversation: {error}")


def path_of(collection: str, identifier: str) -> str:
    """Return the path of one thing of `collection`. Raises BadUsage for what would be the path of another."""
    if identifier in ("", ".", "..") or not identifier.isascii():
        raise BadUsage(f"{identifier!r} cannot be an id: ids are letters and digits")
    return f"{collection}/{quote(identifier, safe='')}"


def _query(query: Mapping[str, str | float | None]) -> dict[str, str | float]:
    return {name: value for name, value in query.items() if value is not None}


def raise_for_status(response: httpx.Response) -> None:
    """Raise RequestFailed, with the message of the answer, unless it is a success."""
    if not response.is_success:
        raise RequestFailed(error_message(response), response.status_code)


def error_message(response: httpx.Response) -> str:
    """Return the message of an error answer, whatever its body is."""
    body = b""
    for part in response.iter_bytes():
        body += part
        if len(body) >= _ERROR_BODY_LIMIT:
            break
    try:
        message = json.loads(body)["message"]
    except (ValueError, LookupError, TypeError):
        message = body.decode(errors="replace").strip()
    return str(message) or f"{response.status_code} {response.reason_phrase}"
