"""Docker Engine, asked over its HTTP API through httpx; what it refuses and that it does not answer, told apart.

Source: Docker Engine API, 1.40 to 1.41 and later; Podman speaks 1.40 and later of it. The version is negotiated as the
docker command does it: the highest that both know.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import trio

from fnd.hookspecs import ContainerFailed
from fnd_docker.certificates import explained, tls_context, tls_error
from fnd_docker.settings import DockerSettings

OLDEST: Final = (1, 40)
"""Of Docker 19.03, 2019."""
NEWEST: Final = (1, 47)
CONNECT_TIME: Final = 5.0
ANSWER_TIME: Final = 60.0
"""Seconds for any request but those that tell of their progress."""
LONGEST_FAILURE: Final = 2000
"""Characters of what failed in one that does."""
KEPT_CONNECTIONS: Final = 8
"""How many that are free stay open for the next request."""
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS)


class EngineUnavailable(ContainerFailed):
    """The engine does not answer, or not in a way that is understood; the message says what to do."""


class EngineUnreachable(EngineUnavailable):
    """There was no connection to ask on: nothing of what was to be asked has been done."""


class EngineError(Exception):
    """The engine answered that it would not or could not."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Engine:
    """One engine. Made by `connected`; its methods raise EngineError and EngineUnavailable."""

    def __init__(self, settings: DockerSettings, client: httpx.AsyncClient, tls: ssl.SSLContext | None) -> None:
        self.host = settings.host
        self._certificates = settings.certificates
        self._client = client
        self._tls = tls
        self._version = ""
        self._podman = False

    async def request(
        self, method: str, path: str, *, body: object = None, time: float = ANSWER_TIME, **query: str | int
    ) -> Any:
        """Return what a request is answered, decoded; None without a body. Cancelled: it may have been done."""
        async with self._open(method, path, body, time, query) as response:
            content = await response.aread()
        return self._decoded(content) if content else None

    async def progress(
        self,
        method: str,
        path: str,
        told: Callable[[dict[str, Any]], None],
        *,
        content: AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | int],
    ) -> None:
        """Send a request whose answer tells of its progress, one JSON object a line, and return once it is done.

        `told` is called with each. `content` is no generator, since one that is not read to its end stays open.
        Cancelled: the engine gives up.
        """
        path = await self.path(path)
        timeout = httpx.Timeout(None, connect=CONNECT_TIME)
        request = self._client.build_request(
            method, path, params=query, content=content, headers=headers, timeout=timeout
        )
        if content is not None:
            request.stream = _Body(content)
        failure = ""
        async with self._sent(request) as response:
            async for line in response.aiter_lines():
                if line:
                    part = self._decoded(line)
                    failure = failure or str(part.get("error", ""))
                    told(part)
        if failure:
            # Its answer was under way by then, and began with success.
            raise EngineError(200, failure[:LONGEST_FAILURE])

    async def path(self, path: str) -> str:
        """Return a path of the API with its version, which is negotiated at the first need."""
        if not self._version:
            self._version = await self._negotiate()
        return f"/v{self._version}{path}"

    async def is_podman(self) -> bool:
        """Whether it is Podman, which takes the same requests with less in them. Raises EngineUnavailable."""
        await self.path("")
        return self._podman

    def forget_version(self) -> None:
        """Negotiate again: another engine may have been started in the place of this one."""
        self._version = ""

    @property
    def closes_by_half(self) -> bool:
        """Whether of what `open_stream` returns one direction can be closed alone, which TLS does not know."""
        return self._tls is None

    async def open_stream(self) -> trio.abc.Stream:
        """Connect for a conversation that is not HTTP from some point on. Raises EngineUnavailable."""
        try:
            with trio.fail_after(CONNECT_TIME):
                return await self._connect()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise self._unavailable(error) from error

    async def _connect(self) -> trio.abc.Stream:
        scheme, _, address = self.host.partition("://")
        if scheme == "unix":
            return await trio.open_unix_socket(address)
        name, _, port = address.rpartition(":")
        stream = await trio.open_tcp_stream(name, int(port))
        if self._tls is None:
            return stream
        secured = trio.SSLStream(stream, self._tls, server_hostname=name, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secured)
            raise
        return secured

    async def _negotiate(self) -> str:
        timeout = httpx.Timeout(ANSWER_TIME, connect=CONNECT_TIME)
        request = self._client.build_request("GET", "/version", timeout=timeout)
        try:
            async with self._sent(request) as response:
                answer = self._decoded(await response.aread())
            newest, oldest = _version(answer["ApiVersion"]), _version(answer.get("MinAPIVersion", "1.0"))
            self._podman = any("Podman" in component["Name"] for component in answer.get("Components") or ())
        except EngineError as error:
            raise self._unversioned(error.message) from error
        except (KeyError, TypeError, ValueError) as error:
            raise self._unversioned(f"but {answer!r:.200}") from error
        if newest < OLDEST or oldest > NEWEST:
            raise EngineUnavailable(
                f"Docker Engine at {self.host} speaks versions {_text(oldest)} to {_text(newest)} of its API, and fnd "
                f"{_text(OLDEST)} to {_text(NEWEST)}: install another of the two"
            )
        return _text(min(newest, NEWEST))

    def _unversioned(self, answer: str) -> EngineUnavailable:
        advice = "set plugins.docker.certificates" if "HTTPS" in answer else "name another with plugins.docker.host"
        return EngineUnavailable(f"Docker Engine at {self.host} does not tell its version ({answer}): {advice}")

    def _decoded(self, content: str | bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            raise EngineUnavailable(
                f"Docker Engine does not answer at {self.host}, but something else does: name another with "
                "plugins.docker.host"
            ) from error

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: object, time: float, query: Mapping[str, str | int]
    ) -> AsyncIterator[httpx.Response]:
        path = await self.path(path)
        timeout = httpx.Timeout(time, connect=CONNECT_TIME)
        request = self._client.build_request(method, path, params=query, json=body, timeout=timeout)
        request.stream = _Body(request.content)
        async with self._sent(request) as response:
            yield response

    @asynccontextmanager
    async def _sent(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise self._unavailable(error) from error
        try:
            if response.is_error:
                raise EngineError(response.status_code, _message(await response.aread()))
            yield response
        except httpx.TransportError as error:
            raise self._unavailable(error) from error
        finally:
            await response.aclose()

    def _unavailable(self, error: BaseException) -> EngineUnavailable:
        kind = EngineUnreachable if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else EngineUnavailable
        broken = tls_error(error)
        if broken is not None:
            return kind(f"Docker Engine at {self.host} {explained(broken, self._certificates)}")
        why = str(error) or type(error).__name__
        advice = "start it, or name another with plugins.docker.host"
        if self._tls is not None and isinstance(error, httpx.ReadError):
            # Whether it accepts who asks it says after the handshake only, and httpx may lose what it said.
            advice += f"; or it knows another authority (--tlscacert) than that of {self._certificates}/cert.pem"
        return kind(f"Docker Engine does not answer at {self.host} ({why}): {advice}")


class _Body(httpx.AsyncByteStream):
    """A request's body, instead of httpx's own: that is a generator, which stays open if an engine hangs up within."""

    def __init__(self, content: bytes | AsyncIterator[bytes]) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Whole(self._content) if isinstance(self._content, bytes) else self._content


class _Whole:
    """Content in one part."""

    def __init__(self, content: bytes) -> None:
        self._parts = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


@asynccontextmanager
async def connected(settings: DockerSettings) -> AsyncIterator[Engine]:
    """Hold connections to an engine while in the context. It need not answer yet, nor always.

    Raises ConfigurationError if its certificates cannot be used.
    """
    tls = await trio.to_thread.run_sync(tls_context, settings)
    scheme, _, address = settings.host.partition("://")
    if scheme == "unix":
        transport = httpx.AsyncHTTPTransport(uds=address, limits=_LIMITS)
        base = "http://docker"
    else:
        transport = httpx.AsyncHTTPTransport(verify=tls if tls is not None else True, limits=_LIMITS)
        base = f"{'https' if tls is not None else 'http'}://{address}"
    async with httpx.AsyncClient(transport=transport, base_url=base, trust_env=False) as client:
        yield Engine(settings, client, tls)


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:1000].decode("utf-8", "replace").strip() or "no reason given"


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
