"""An engine that is asked over TCP, and trusts nobody whose certificate its authority did not sign, nor is trusted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from fnd.hookspecs import ContainerFailed, DriverContext, Exit, Link
from fnd.testing.leavings import no_descriptor_left
from fnd.testing.log import KeptLog
from fnd_docker.driver import DockerDriver
from tests.certificates import Authority, make_authority
from tests.private_docker import PrivateDocker, add_program, private_docker, python_image
from tests.system.fnd_docker.conftest import ANSWERING, PLAYING, Bench
from tests.system.live_daemon import PROGRAMS, LiveFunction, live_daemon

pytestmark = pytest.mark.system

LONG: Final = 3600
"""Seconds that a container may be idle, however slow the machine is."""


@attrs.frozen
class Secured:
    """An engine with TLS, and two authorities, of which it knows one."""

    engine: PrivateDocker
    port: int
    known: Authority
    other: Authority

    @property
    def host(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    known, other = make_authority(directory / "known"), make_authority(directory / "other")
    own = known.sign(directory / "engine")
    port = _free_port()
    options = ["-H", f"tcp://127.0.0.1:{port}", "--tlsverify", "--tlscacert", str(own / "ca.pem")]
    options += ["--tlscert", str(own / "cert.pem"), "--tlskey", str(own / "key.pem")]
    with private_docker(*options) as engine:
        python_image(engine)
        add_program(engine, ANSWERING, PROGRAMS / "answering.py")
        add_program(engine, PLAYING, PROGRAMS / "playing.py")
        yield Secured(engine, port, known, other)


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def certificates(directory: Path, signed: Authority, trusted: Authority) -> Path:
    """Make a directory with a certificate of one authority that trusts another, or the same."""
    made = signed.sign(directory / "certificates")
    (made / "ca.pem").write_bytes(trusted.certificate.read_bytes())
    return made


def driver_of(root: Path, host: str, certificates: Path | None) -> DockerDriver:
    settings = {"host": host, **({} if certificates is None else {"certificates": str(certificates)})}
    return DockerDriver(DriverContext(root / "data", root / "run", settings))


async def test_a_daemon_serves_calls(secured: Secured, root: Path) -> None:
    made = certificates(root, secured.known, secured.known)
    settings = f'memory = 2048\n[plugins.docker]\nhost = "{secured.host}"\ncertificates = "{made}"\n'
    with live_daemon(root, settings) as daemon:
        app_id = daemon.control.post("/v2/apps", {"name": "app"})["id"]
        body = {"name": "f", "app_id": app_id, "image": f"docker://{ANSWERING}", "memory": 64, "idle_timeout": LONG}
        function = LiveFunction(daemon, daemon.control.post("/v2/fns", body)["id"])
        answers = [await function.call(body=b"%d" % number) for number in range(5)]
        assert [answer.body for answer in answers] == [b"%d" % number for number in range(5)]
        assert [answer.headers[b"fnd-container"] for answer in answers] == [b"cold", *[b"warm"] * 4]
        assert len(secured.engine.containers()) == 1
    assert secured.engine.containers() == []


async def test_what_a_container_writes_and_how_it_ends_is_told(secured: Secured, root: Path) -> None:
    with no_descriptor_left():
        driver = driver_of(root, secured.host, certificates(root, secured.known, secured.known))
        async with driver.running():
            bench = Bench(driver, secured.engine, root / "run")
            log = KeptLog()
            async with driver.start(bench.spec(play="write 2000", log=log)) as container:
                with trio.fail_after(60):
                    assert await container.wait() == Exit(code=0)
            assert log.streams["stdout"] == b"".join(b"out %d\n" % number for number in range(2000))
            bench.nothing_is_left()


async def test_standard_streams_are_a_link_and_its_input_ends(secured: Secured, root: Path) -> None:
    with no_descriptor_left():
        driver = driver_of(root, secured.host, certificates(root, secured.known, secured.known))
        async with driver.running():
            bench = Bench(driver, secured.engine, root / "run")
            async with driver.start(bench.spec(play="echo", link=Link.STREAMS)) as container:
                with trio.fail_after(60):
                    await container.streams.send_all(b"in")
                    await container.streams.send_eof()
                    assert await container.wait() == Exit(code=0)
                    assert await container.streams.receive_some(10) == b"in"
            bench.nothing_is_left()


async def refused(root: Path, host: str, certificates: Path | None) -> str:
    """Return what status says, and a caller whose function cannot be started is told."""
    with no_descriptor_left():
        driver = driver_of(root, host, certificates)
        async with driver.running():
            with pytest.raises(ContainerFailed) as told:
                await driver.prepare(f"docker://{ANSWERING}")
            (protection,) = driver.protection()
            assert not protection.in_force
    return f"{protection.by}\n{told.value}"


async def test_an_engine_of_an_authority_that_is_not_known_is_not_trusted(secured: Secured, root: Path) -> None:
    made = certificates(root, secured.known, secured.other)
    for said in (await refused(root, secured.host, made)).splitlines():
        assert f"Docker Engine at {secured.host} has a certificate that is not trusted" in said
        assert f"{made}/ca.pem must be of the authority that signed it" in said


async def test_nor_is_one_whose_certificate_is_for_another_name(secured: Secured, root: Path) -> None:
    made = certificates(root, secured.known, secured.known)
    for said in (await refused(root, f"tcp://localhost:{secured.port}", made)).splitlines():
        assert "not trusted (Hostname mismatch, certificate is not valid for 'localhost'.)" in said
        assert "plugins.docker.host have a name that it is for" in said


async def test_a_certificate_of_an_authority_that_the_engine_does_not_know_is_named(
    secured: Secured, root: Path
) -> None:
    made = certificates(root, secured.other, secured.known)
    for said in (await refused(root, secured.host, made)).splitlines():
        assert "--tlscacert" in said
        assert f"{made}/cert.pem" in said


async def test_without_certificates_the_setting_is_named(secured: Secured, root: Path) -> None:
    for said in (await refused(root, secured.host, None)).splitlines():
        assert f"Docker Engine at {secured.host} does not tell its version" in said
        assert "set plugins.docker.certificates" in said
