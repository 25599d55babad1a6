"""What holds for every route: the document, HEAD, and that whatever goes wrong is JSON with a message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fnd import __version__
from fnd.errors import ConfigurationError
from fnd.model import App
from tests.management import Management, exchange, managing

JSON = b"application/json; charset=utf-8"


@pytest.fixture
async def management(tmp_path: Path) -> AsyncIterator[Management]:
    async with managing(tmp_path) as management:
        yield management


async def test_the_server_says_what_it_is(management: Management) -> None:
    welcome = await management.ask("GET", "/")
    assert welcome == {"name": "fnd", "version": __version__, "document": "/openapi.json"}
    assert await management.ask("GET", "/version") == {"version": __version__}


async def test_the_document_describes_every_route_and_its_problems(management: Management) -> None:
    document = await management.ask("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == __version__
    assert {
        *("/", "/version", "/metrics", "/v2/apps", "/v2/apps/{app_id}", "/v2/fns", "/v2/fns/{fn_id}"),
        *("/v2/triggers", "/v2/triggers/{trigger_id}", "/control/status", "/control/build", "/control/logs"),
    } <= set(document["paths"])
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["description"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operation in operations:
        for status, response in operation["responses"].items():
            assert int(status) < 400 or response["content"] == problem
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == {"message"}


async def test_the_document_has_the_limits_and_meanings_of_fields(management: Management) -> None:
    schemas = (await management.ask("GET", "/openapi.json"))["components"]["schemas"]
    fn = schemas["FnBody"]["properties"]
    assert (fn["memory"]["minimum"], fn["memory"]["maximum"]) == (0, 8192)
    assert (fn["timeout"]["maximum"], fn["idle_timeout"]["maximum"], fn["name"]["maxLength"]) == (300, 3600, 255)
    for body in ("AppBody", "FnBody", "TriggerBody"):
        assert all(field["description"] for field in schemas[body]["properties"].values())
        assert schemas[body]["required"] == []
    assert schemas["FnList"]["required"] == ["items"]


async def test_head_is_answered_as_get_without_a_body(management: Management) -> None:
    for path in (b"/", b"/version", b"/metrics", b"/openapi.json", b"/v2/apps", b"/control/status"):
        get = await exchange(management.application, "GET", path)
        head = await exchange(management.application, "HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.header(b"content-type") == get.header(b"content-type")
    missing = await exchange(management.application, "HEAD", b"/v2/apps/none")
    assert (missing.status, missing.header(b"content-type"), missing.body) == (404, JSON, b"")


async def test_head_of_an_endless_answer_ends(management: Management) -> None:
    endless = await exchange(management.application, "HEAD", b"/control/events")
    assert (endless.status, endless.body) == (200, b"")


async def test_a_path_that_is_not_there_is_404_in_json(management: Management) -> None:
    for path in ("/nothing", "/v2", "/v2/", "/v2/apps/a/b", "/schema", "/openapi", "/openapi.yaml", "/%00", "/%ff"):
        assert await management.refusal("GET", path) == (404, "Not found")


async def test_a_method_that_is_not_there_is_405_in_json(management: Management) -> None:
    for method, path in (("POST", "/"), ("PATCH", "/v2/apps"), ("DELETE", "/v2/apps"), ("POST", "/v2/fns/x")):
        response = await management.client.request(method, path)
        assert (response.status_code, response.json()) == (405, {"message": "Method not allowed"})
        assert "GET" in response.headers["allow"]


async def test_a_query_that_cannot_be_read_is_named(management: Management) -> None:
    assert await management.refusal("GET", "/control/logs", lines="x") == (
        400,
        "Invalid lines: Expected `int`, got `str`",
    )


async def test_a_fault_of_fnds_own_is_500_without_a_trace_of_it(
    management: Management, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(app: App) -> bool:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(management.catalog, "put_app", fail)
    response = await management.client.post("/v2/apps", json={"name": "a"}, headers={"accept": "text/html"})
    assert (response.status_code, response.json()) == (500, {"message": "internal server error"})
    assert response.headers["content-type"] == JSON.decode()
    assert "secret of the house" in capsys.readouterr().out, "the log has it"


async def test_a_reload_of_wrong_settings_is_answered_with_what_is_wrong(
    management: Management, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> Any:
        raise ConfigurationError("memory: must be a number")

    monkeypatch.setattr(type(management.services.daemon), "reload", lambda self: fail())
    assert await management.refusal("POST", "/control/reload") == (400, "memory: must be a number")
