"""What the engine is asked for: everything closed that no setting opens."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from fnd.hookspecs import ContainerSpec, Link
from fnd_docker.bodies import container_body, engine_image
from fnd_docker.settings import DockerSettings, read_settings

SOCKETS = Path("/run/fnd/docker/C1/iofs")


def body(
    spec_fields: dict[str, Any] | None = None, *, asks_for_network: bool = False, podman: bool = False, **settings: Any
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "container_id": "C1",
        "app_id": "A1",
        "app_name": "shop",
        "fn_id": "F1",
        "fn_name": "cart",
        "image": "docker://shop/cart:2",
        "memory": 128,
        "cpu": 0,
        "link": Link.SOCKET,
        "environment": lambda directory: {"WHERE": directory, "A": "b=c"},
        "log": lambda stream, data: None,
    }
    spec = ContainerSpec(**fields | (spec_fields or {}))
    read = read_settings(settings)
    command = ("/bin/serve", "-v")
    return container_body(spec, read, "INSTANCE", SOCKETS, network=asks_for_network, podman=podman, command=command)


def test_a_container_is_closed_unless_a_setting_opens_it() -> None:
    made = body()
    assert made["Image"] == "shop/cart:2"
    assert made["User"] == "1000:1000"
    assert made["Env"] == ["WHERE=/tmp/iofs", "A=b=c"]
    assert made["Labels"]["dev.fnd.instance"] == "INSTANCE"
    assert made["NetworkDisabled"] is True
    host = made["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (128 << 20, 128 << 20)
    assert (host["CapDrop"], host["SecurityOpt"], host["ReadonlyRootfs"]) == (["ALL"], ["no-new-privileges"], True)
    assert (host["NetworkMode"], host["PidsLimit"], host["LogConfig"]) == ("none", 50, {"Type": "none"})
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 350, "Hard": 350}]
    assert "Privileged" not in host
    assert "NanoCpus" not in host


def test_each_setting_opens_what_it_says_and_nothing_else() -> None:
    closed = body()["HostConfig"]
    assert closed.keys() - body(capabilities=True)["HostConfig"].keys() == {"CapDrop"}
    assert closed.keys() - body(privilege_gain=True)["HostConfig"].keys() == {"SecurityOpt"}
    assert body(writable=True)["HostConfig"] == closed | {"ReadonlyRootfs": False}


@pytest.mark.parametrize(
    ("asks", "settings", "network"),
    [
        (False, {}, "none"),
        (False, {"network": "functions"}, "none"),
        (True, {}, "bridge"),
        (True, {"network": "functions"}, "functions"),
        (False, {"network_always": True}, "bridge"),
    ],
)
def test_the_network_is_for_who_asks_or_for_all_if_a_setting_says_so(
    asks: bool, settings: dict[str, Any], network: str
) -> None:
    made = body(asks_for_network=asks, **settings)
    assert (made["NetworkDisabled"], made["HostConfig"]["NetworkMode"]) == (network == "none", network)


@pytest.mark.parametrize(("allowed", "processes"), [(5000, 5000), (1 << 30, 32_768), (resource.RLIM_INFINITY, 32_768)])
def test_podman_is_asked_for_as_many_processes_as_a_user_may_have_here_and_for_a_tmp_that_it_knows(
    monkeypatch: pytest.MonkeyPatch, allowed: int, processes: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (allowed, allowed))
    monkeypatch.setattr(Path, "read_text", lambda path: "32768\n")
    host = body(podman=True)["HostConfig"]
    assert host["Ulimits"][1] == {"Name": "nproc", "Soft": processes, "Hard": processes}
    assert "uid=" not in host["Tmpfs"]["/tmp"]
    differing = {"Ulimits", "Tmpfs"}
    docker = body()["HostConfig"]
    assert {name: host[name] for name in host.keys() - differing} == {
        name: docker[name] for name in docker.keys() - differing
    }


def test_a_part_of_a_core_is_a_quota() -> None:
    assert body({"cpu": 1500})["HostConfig"]["NanoCpus"] == 1_500_000_000


def test_its_link_is_a_directory_or_its_streams() -> None:
    socket, streams = body(), body({"link": Link.STREAMS})
    assert socket["HostConfig"]["Mounts"] == [{"Type": "bind", "Source": str(SOCKETS), "Target": "/tmp/iofs"}]
    assert not socket["OpenStdin"]
    assert "Mounts" not in streams["HostConfig"]
    assert (streams["OpenStdin"], streams["StdinOnce"], streams["AttachStdin"]) == (True, True, True)


@pytest.mark.parametrize("image", ["docker://a/b:1", "a/b:1"])
def test_the_scheme_is_not_the_engines(image: str) -> None:
    assert engine_image(image) == "a/b:1"


def test_settings_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CERT_PATH", raising=False)
    assert read_settings({}) == DockerSettings(host="unix:///var/run/docker.sock", certificates="")
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine:2376")
    assert read_settings({}).host == "tcp://engine:2376"


def test_a_launcher_is_given_what_the_image_starts() -> None:
    assert "Entrypoint" not in body()
    made = body({"launcher": "launch()"})
    assert made["Entrypoint"] == ["python3", "-I", "-S", "-c", "launch()"]
    assert made["Cmd"] == ["/bin/serve", "-v"]
