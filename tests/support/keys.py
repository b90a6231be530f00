"""Keys for TLS, made by openssl(1): an authority, and what it has signed."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Keys:
    """Of the authority "ca", "controller" and "switch", which it has signed, and a
    "stranger", whom it does not know: NAME.pem and NAME.key."""

    directory: Path

    def context(self, name: str = "switch") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.directory / "ca.pem")
        if name:
            context.load_cert_chain(self.certificate(name), self.key(name))
        return context

    def certificate(self, name: str) -> Path:
        return self.directory / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    @property
    def of_controller(self) -> tuple[str, ...]:
        """Flags of ryu-manager."""
        return (
            *("--ctl-privkey", str(self.key("controller"))),
            *("--ctl-cert", str(self.certificate("controller"))),
            *("--ca-certs", str(self.certificate("ca"))),
        )

    @property
    def of_switch(self) -> tuple[str, ...]:
        """Arguments of `ovs-vsctl set-ssl`."""
        files = self.key("switch"), self.certificate("switch"), self.certificate("ca")
        return tuple(map(str, files))


def new_keys(place: Path) -> Keys:
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-subj")
    days = ("-days", "2")
    for name in ("ca", "stranger"):
        out = ("-keyout", place / f"{name}.key", "-out", place / f"{name}.pem")
        openssl(*new, f"/CN={name}", "-x509", *days, *out)
    by_ca = ("-CA", place / "ca.pem", "-CAkey", place / "ca.key", "-CAcreateserial")
    for name in ("controller", "switch"):
        request, signed = place / f"{name}.csr", place / f"{name}.pem"
        openssl(*new, f"/CN={name}", "-keyout", place / f"{name}.key", "-out", request)
        openssl("x509", "-req", *days, *by_ca, "-in", request, "-out", signed)
    return Keys(place)


def openssl(*words: str | Path) -> None:
    subprocess.run(("openssl", *words), check=True, capture_output=True, timeout=60)
