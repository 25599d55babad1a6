"""The conversation: a call's event on a line of standard input, its answer's on standard output.

Source: Fn's container contract for `cloudevent`; docs/formats.md has it in tables, and 1.0 beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fnd.hookspecs import (
    APIError,
    BadRequest,
    CallRequest,
    CallResponse,
    CodecContext,
    Container,
    FunctionBodyTooLarge,
    Link,
    Session,
)
from fnd_cloudevents.door import encoded, event_of, headers_of, whole
from fnd_cloudevents.events import NotAnEvent
from fnd_cloudevents.frames import Answer, Version, read_answer
from fnd_stdio.calls import WholeResponse, answer_headers
from fnd_stdio.frames import FrameSession
from fnd_stdio.settings import FrameSettings
from fnd_stdio.talk import Talk


class CloudEventsSession(FrameSession):
    """The conversation with one container."""

    def __init__(self, talk: Talk, version: Version, context: CodecContext, settings: FrameSettings) -> None:
        super().__init__(talk, settings.largest_answer(context))
        self._version = version
        self._context = context
        self._largest_body = settings.max_frame_size << 20

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call, return the function's answer.

        Raises FunctionError; BadRequest or BodyTooLarge for what is no event, or none that the function can be sent, or
        the APIError that ended the request's body: the session is then as it was. Cancelled: not reusable.
        """
        self.reusable = False
        try:
            frame = await self._frame(request)
        except APIError:
            self.reusable = True
            raise
        answer = read_answer(await self._ask(frame), self._context.max_response_header_size)
        response = self._response(answer, through_trigger=request.through_trigger)
        self.reusable = True
        return response

    async def _frame(self, request: CallRequest) -> bytes:
        body = await whole(request.body, self._largest_body)
        try:
            return self._version.encode(event_of(request, body), request)
        except NotAnEvent as error:
            raise BadRequest(
                f"The call is no event for a function of the format {self._version.format}: {error}"
            ) from error

    def _response(self, answer: Answer, *, through_trigger: bool) -> CallResponse:
        if 0 < self._context.max_response_body_size < len(answer.data):
            raise FunctionBodyTooLarge
        headers, plain = answer.headers, None
        if answer.event is not None:
            # A trigger takes the prefix off that the others get; through /invoke nobody does.
            if through_trigger:
                headers = {**headers, **headers_of(answer.event)}
            else:
                plain = encoded(headers_of(answer.event))
        made = answer_headers(
            answer.status,
            answer.content_type,
            headers,
            plain=plain,
            largest=self._context.max_response_header_size,
        )
        return WholeResponse(made, answer.data)


class CloudEventsCodec:
    """One version of CloudEvents."""

    hot = True
    link = Link.STREAMS

    def __init__(self, version: Version, context: CodecContext, settings: FrameSettings) -> None:
        self.format = version.format
        self._version = version
        self._context = context
        self._settings = settings

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """What a function reads to know how it is spoken to."""
        return {"FN_FORMAT": self.format}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """A container that runs is ready: what it is sent waits for it to read."""
        yield CloudEventsSession(Talk(container.streams), self._version, self._context, self._settings)
