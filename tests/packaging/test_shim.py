"""Ryu 4.34 starts on a current Python, and nobody else notices (decision 0001)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.packaging import ROOT
from tests.support.ryu_manager import everything, ryu_manager

RYU_MANAGER = Path(sys.executable).parent / "ryu-manager"

ECHO_APP = """
from ryu.app.wsgi import ControllerBase, WSGIApplication, websocket
from ryu.base.app_manager import RyuApp


class Echo(RyuApp):
    _CONTEXTS = {"wsgi": WSGIApplication}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        kwargs["wsgi"].register(Pages)


class Pages(ControllerBase):
    @websocket("echo", "/echo")
    def echo(self, ws):
        ws.send(ws.wait())
"""

HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"  # RFC 6455, 1.3
)
HELLO_MASKED = bytes.fromhex("818537fa213d7f9f4d5158")  # RFC 6455, 5.7
HELLO = bytes.fromhex("810548656c6c6f")


def python(
    code: str, *options: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_ryu_manager_prints_its_version_and_not_a_word_more() -> None:
    result = subprocess.run(
        [RYU_MANAGER, "--version"], capture_output=True, text=True, timeout=60
    )

    assert result.stdout + result.stderr == "ryu-manager 4.34\n"


def test_every_start_of_python_has_the_hook_and_neither_eventlet_nor_ryu() -> None:
    result = python(
        "import sys; from controller.shim import Hook;"
        "print(Hook in sys.meta_path, sorted({'eventlet', 'ryu'} & set(sys.modules)))"
    )

    assert result.stdout == "True []\n", result.stderr


def test_the_hook_costs_the_import_of_one_module_of_ours() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import controller.shim; controller.shim.install()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = python(code, "-S", environment={"PYTHONPATH": str(ROOT)})

    assert result.stdout == "__future__ controller controller.shim\n", result.stderr


def test_where_eventlet_and_ryu_are_missing_the_hook_changes_no_error() -> None:
    code = (
        "import controller.shim; controller.shim.install()\n"
        "for name in ('eventlet.wsgi', 'eventlet', 'ryu.flags'):\n"
        "    try: __import__(name)\n"
        "    except ModuleNotFoundError as error: print(error)\n"
    )
    result = python(code, "-S", environment={"PYTHONPATH": str(ROOT)})

    assert result.stdout.splitlines() == [
        "No module named 'eventlet'",
        "No module named 'eventlet'",
        "No module named 'ryu'",
    ], result.stderr


def test_a_second_installation_adds_no_second_hook() -> None:
    result = python(
        "import sys; from controller.shim import Hook, install; install(); install();"
        "print(sys.meta_path.count(Hook))"
    )

    assert result.stdout == "1\n", result.stderr


def test_a_value_that_eventlet_brings_itself_is_kept(tmp_path: Path) -> None:
    package = tmp_path / "eventlet"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "wsgi.py").write_text("ALREADY_HANDLED = 'as before 0.31'\n")

    result = python(
        "from eventlet.wsgi import ALREADY_HANDLED; print(ALREADY_HANDLED)",
        environment={"PYTHONPATH": str(tmp_path)},
    )

    assert result.stdout == "as before 0.31\n", result.stderr


def test_ryus_literals_compile_in_silence_and_other_peoples_do_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "theirs.py").write_text("odd = 1 is not 2\n")
    uncompiled = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONPYCACHEPREFIX": str(tmp_path / "empty"),
    }

    ryus = python("import ryu.lib.packet.cfm", environment=uncompiled)
    theirs = python("import ryu, theirs", environment=uncompiled)

    assert (ryus.returncode, ryus.stderr) == (0, "")
    assert "SyntaxWarning" in theirs.stderr


def test_what_a_followed_module_raises_is_raised(tmp_path: Path) -> None:
    package = tmp_path / "eventlet"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "wsgi.py").write_text("raise RuntimeError('of eventlet')\n")

    result = python("import eventlet.wsgi", environment={"PYTHONPATH": str(tmp_path)})

    assert result.stderr.endswith("RuntimeError: of eventlet\n")


def test_a_websocket_of_ryu_is_answered_once_and_closed(tmp_path: Path) -> None:
    """That `ALREADY_HANDLED` is empty: eventlet appends no response of its own."""
    (tmp_path / "echo.py").write_text(ECHO_APP)

    with (
        ryu_manager(RYU_MANAGER, tmp_path, "echo.py") as ryu,
        ryu.connect() as browser,
    ):
        browser.sendall(HANDSHAKE)
        switched = browser.recv(4096)
        browser.sendall(HELLO_MASKED)
        rest = everything(browser)

    assert switched.startswith(b"HTTP/1.1 101 ")
    assert rest.startswith(HELLO)
    assert b"HTTP/1.1" not in rest
    assert "Traceback" not in ryu.log.read_text()
