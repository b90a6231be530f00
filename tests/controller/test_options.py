"""isat's flags among Ryu's, whenever they become known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RYU_MANAGER = str(Path(sys.executable).parent / "ryu-manager")


def python(code: str, *options: str) -> list[str]:
    """What a program prints, line by line; in a process, since flags are global."""
    done = subprocess.run(
        (sys.executable, *options, "-c", code),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


BEFORE = (  # as ryu.cmd.manager does it
    "from ryu.lib import hub; hub.patch(); from ryu import cfg, flags\n"
    "from ryu.base import app_manager; from ryu.controller import controller\n"
)
PARSE = "cfg.CONF(args={args}, project='ryu', default_config_files=[])\n"
START = "from controller import options\n"
TELL = (
    "c = cfg.CONF; print(c.isat_config); print(c.ofp_listen_host);"
    "print(c.ofp_tcp_listen_port); print(c.ofp_ssl_listen_port)"
)
REGISTER = "options.register(); options.register()\n"


def values(*args: str, early: bool = True) -> list[str]:
    """isat_config, ofp_listen_host, and the two ports, with this command line."""
    parse = PARSE.format(args=list(args))
    steps = REGISTER + parse if early else parse + REGISTER
    return python(BEFORE + START + steps + TELL, "-W", "ignore")


def test_without_a_flag_only_this_host_may_connect_at_the_assigned_port() -> None:
    assert values() == ["", "127.0.0.1", "6653", "6653"]


def test_what_the_user_says_wins() -> None:
    told = values(
        *("--isat-config", "lab.yaml"),
        *("--ofp-listen-host", "0.0.0.0", "--ofp-tcp-listen-port", "6654"),
    )
    assert told == ["lab.yaml", "0.0.0.0", "6654", "6653"]


def test_flags_that_become_known_late_do_no_harm_and_can_stand_in_a_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "ryu.conf").write_text("[DEFAULT]\nisat_config = lab.yaml\n")

    told = values(
        *("--config-file", str(tmp_path / "ryu.conf")),
        *("--ofp-tcp-listen-port", "6654"),
        early=False,
    )
    assert told == ["lab.yaml", "127.0.0.1", "6654", "6653"]


def test_other_applications_keep_ryus_defaults() -> None:
    """isat is installed beside them, and that is all."""
    look = "print(cfg.CONF.ofp_listen_host)"

    assert python(BEFORE + PARSE.format(args=[]) + look, "-W", "ignore") == ["0.0.0.0"]


@pytest.mark.parametrize(
    "words", [(), ("--user-flags", str(ROOT / "controller/options.py"))], ids=str
)
def test_ryu_manager_lists_the_flags(words: tuple[str, ...]) -> None:
    said = subprocess.run(
        (RYU_MANAGER, *words, "--help"), capture_output=True, text=True, check=True
    )
    assert "--isat-config" in said.stdout
    assert "--isat-socket" in said.stdout


def test_user_flags_are_enough_where_the_shim_is_not_installed() -> None:
    """-S reads no .pth file, so the hook is not there."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    manager = (
        f"import sys; sys.path[:0] = [{site!r}, {str(ROOT)!r}];"
        "import setuptools;"  # Ryu wants distutils, which Python 3.12 has no more
        "import eventlet.wsgi; eventlet.wsgi.ALREADY_HANDLED = ();"
        "from ryu.cmd import manager; manager.main()"
    )
    done = subprocess.run(
        (
            *(sys.executable, "-S", "-W", "ignore", "-c", manager),
            *("--user-flags", str(ROOT / "controller/options.py"), "--help"),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "--isat-config" in done.stdout, done.stderr
