"""Run an application that was written for Ryu on os-ken, which has the same API.

python on_os_ken.py PORT APPLICATION PLACE: it is rewritten into the directory PLACE.
"""

from __future__ import annotations

import sys
from pathlib import Path

from os_ken import cfg
from os_ken.base.app_manager import AppManager
from os_ken.controller import controller  # noqa: F401  its flags are read below


def main(port: str, application: str, place: str) -> None:
    name = f"{Path(application).stem}_on_os_ken"
    text = Path(application).read_text()
    text = text.replace("from ryu.", "from os_ken.").replace("RyuApp", "OSKenApp")
    Path(place, f"{name}.py").write_text(text)
    sys.path.insert(0, place)
    flags = ["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", port]
    cfg.CONF(flags, project="os_ken", default_config_files=[])
    AppManager.run_apps([name])


if __name__ == "__main__":
    main(*sys.argv[1:])
