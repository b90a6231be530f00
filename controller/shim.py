"""Lets Ryu 4.34 start on a current Python, from a hook in the import system.

`isat-shim.pth` (and `isat-shim.start`, its successor by PEP 829) calls `install` at
every start of an interpreter that has isat.  Therefore this module imports nothing
but `sys`: it waits until somebody else imports eventlet or Ryu.
docs/decisions/0001-ryu-on-a-current-python.md tells why each patch is needed.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` would cost more than all the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def quiet_eventlet() -> None:
    """Eventlet greets every start with nine lines about its own retirement."""
    import warnings

    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated", Warning)


def quiet_ryu() -> None:
    """Ryu compares with literals by `is not`; Python says so at each compilation."""
    import warnings

    said_of = r".*[/\\]ryu[/\\]"  # a compiler's warning has a path for a module name
    warnings.filterwarnings("ignore", '"is not" with', SyntaxWarning, said_of)


def give_already_handled(wsgi: ModuleType) -> None:
    """Ryu imports this name; eventlet 0.31 replaced it by `WSGI_LOCAL`.

    Eventlet's WebSocket handler sets `WSGI_LOCAL.already_handled` itself, so what
    Ryu returns from its response only has to be an empty body.
    """
    if not hasattr(wsgi, "ALREADY_HANDLED"):
        vars(wsgi)["ALREADY_HANDLED"] = ()


def register_options(_flags: ModuleType) -> None:
    """Ryu parses the command line before it loads applications, hence their options."""
    from controller import options

    options.register()


BEFORE_IMPORT: dict[str, Callable[[], None]] = {
    "eventlet": quiet_eventlet,
    "ryu": quiet_ryu,
}
AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    "eventlet.wsgi": give_already_handled,
    "ryu.flags": register_options,  # of Ryu's own modules only ryu.cmd.* imports it
}


class Hook:
    """A finder of `sys.meta_path` that finds nothing itself and sees all imports."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in BEFORE_IMPORT:
            BEFORE_IMPORT[name]()
        return followed(name, path) if name in AFTER_IMPORT else None


def followed(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """The module's ordinary spec, whose loader calls us once the module has run."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        return spec
    run = spec.loader.exec_module

    def run_and_follow(module: ModuleType) -> None:
        run(module)
        AFTER_IMPORT[name](module)

    vars(spec.loader)["exec_module"] = run_and_follow
    return spec


def install() -> None:
    """Put the hook in front of the other finders, once."""
    if Hook not in sys.meta_path:
        sys.meta_path.insert(0, Hook)
