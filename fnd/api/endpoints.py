"""The URLs under which callers reach functions, as fns and triggers show them in their annotations."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final
from urllib.parse import quote

import attrs
from litestar.connection import Request

from fnd.api.doors import CONTROL
from fnd.api.services import Services, services_of
from fnd.api.validation import HTTP_ENDPOINT, INVOKE_ENDPOINT
from fnd.config import ListenAddress
from fnd.model import Fn, Trigger

_PATH: Final = "/!$&'()*+,;=:@~"
"""What a URL's path has unescaped, beside letters, digits and -._ (RFC 3986)."""
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


@attrs.frozen
class Endpoints:
    """Shows entities with the URLs that lead to them from where the asker is."""

    base: str
    """Scheme and authority, or "" if callers have no TCP listener to go to."""
    _services: Services

    @classmethod
    def of(cls, request: Request[Any, Any, Any]) -> Endpoints:
        """Return those of the server as `request` names it; on the control socket, of the first TCP listener."""
        services = services_of(request)
        if request.scope["state"].get("fnd.listener") != CONTROL:
            host = request.headers.get("host", "")
            if _HOST.fullmatch(host):
                return cls(f"{request.scope['scheme']}://{host}", services)
        return cls(_first_listener(services), services)

    def fn(self, fn: Fn) -> Fn:
        """Return `fn` with its invoke endpoint."""
        url = f"{self.base}/invoke/{fn.id}"
        return attrs.evolve(fn, annotations={**fn.annotations, INVOKE_ENDPOINT: url})

    def trigger(self, trigger: Trigger) -> Trigger:
        """Return `trigger` with its HTTP endpoint; as it is if its app has just been deleted."""
        app = self._services.catalog.app_of(trigger.app_id)
        if app is None:
            return trigger
        url = f"{self.base}/t/{quote(app.name)}{quote(trigger.source, safe=_PATH)}"
        return attrs.evolve(trigger, annotations={**trigger.annotations, HTTP_ENDPOINT: url})


def _first_listener(services: Services) -> str:
    for text in services.daemon.listeners or services.settings.listen:
        address = ListenAddress.parse(text)
        if address.path is None:
            return f"http://{attrs.evolve(address, host=_reachable(address.host))}"
    return ""


def _reachable(host: str) -> str:
    """Return `host`, or this machine's own name for itself where it stands for every address."""
    try:
        return "localhost" if ipaddress.ip_address(host).is_unspecified else host
    except ValueError:
        return host
