"""Who one is at a registry, as the docker command's configuration tells it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from fnd_docker.credentials import HUB, credentials_for, registry_of


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    return tmp_path / "config.json"


def helper(directory: Path, name: str, script: str) -> None:
    path = directory / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("busybox", HUB),
        ("library/busybox:1", HUB),
        ("registry.example/a/b:1", "registry.example"),
        ("localhost/a", "localhost"),
        ("host:5000/a@sha256:00", "host:5000"),
    ],
)
def test_an_images_name_leads_to_a_registry(image: str, registry: str) -> None:
    assert registry_of(image) == registry


async def test_what_is_written_there_is_told(config: Path) -> None:
    secret = base64.b64encode(b"ada:pass:word").decode()
    config.write_text(json.dumps({"auths": {"r.example": {"auth": secret}, "t.example": {"identitytoken": "T"}}}))
    assert await credentials_for("r.example/a") == {
        "username": "ada",
        "password": "pass:word",
        "serveraddress": "r.example",
    }
    assert await credentials_for("t.example/a") == {"identitytoken": "T", "serveraddress": "t.example"}
    assert await credentials_for("other.example/a") is None


async def test_a_helper_is_asked(config: Path) -> None:
    helper(config.parent, "one", 'read registry; echo "{\\"Username\\": \\"$registry\\", \\"Secret\\": \\"s\\"}"')
    helper(config.parent, "two", 'echo \'{"Username": "<token>", "Secret": "T"}\'')
    config.write_text(json.dumps({"credsStore": "two", "credHelpers": {"r.example": "one"}}))
    assert await credentials_for("r.example/a") == {
        "username": "r.example",
        "password": "s",
        "serveraddress": "r.example",
    }
    assert await credentials_for("other.example/a") == {"identitytoken": "T", "serveraddress": "other.example"}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"auths": {"r.example": {"auth": "?"}}}', '{"auths": {"r.example": 5}}', '{"credsStore": "none"}'],
)
async def test_whatever_is_wrong_there_is_anybody(config: Path, content: str) -> None:
    config.write_text(content)
    assert await credentials_for("r.example/a") is None


async def test_a_helper_that_fails_or_babbles_is_anybody(config: Path) -> None:
    for script in ("exit 1", "echo nonsense", "echo '[]'"):
        helper(config.parent, "bad", script)
        config.write_text(json.dumps({"credsStore": "bad"}))
        assert await credentials_for("r.example/a") is None
