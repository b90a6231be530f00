"""The guest's MAC address from command lines as people and libvirt write them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.netlink.qemu import guest_mac

MAC = "52:54:00:12:34:56"
OTHER = "52:54:00:65:43:21"

FOUND = (
    # -netdev and -device; extra options; any order of the two
    f"-netdev tap,id=n0,ifname=tap9,script=no -device e1000,netdev=n0,mac={MAC}",
    f"-device virtio-net-pci,mac={MAC},netdev=n0 -netdev tap,ifname=tap9,id=n0",
    f"--netdev type=tap,id=n0,ifname=tap9 --device driver=e1000,netdev=n0,mac={MAC}",
    # two cards
    f"-netdev tap,id=a,ifname=tap8 -device e1000,netdev=a,mac={OTHER} "
    f"-netdev tap,id=b,ifname=tap9 -device e1000,netdev=b,mac={MAC}",
    # a comma in a value
    f"-netdev tap,id=n,,0,ifname=tap9 -device e1000,netdev=n,,0,mac={MAC}",
    # -nic
    f"-nic tap,ifname=tap9,script=no,model=virtio-net-pci,mac={MAC}",
    # -net, also with the hubs of old
    f"-net nic,macaddr={MAC} -net tap,ifname=tap9",
    f"-net nic,vlan=1,macaddr={MAC} -net tap,vlan=1,ifname=tap9 "
    f"-net nic,vlan=2,macaddr={OTHER} -net tap,vlan=2,ifname=tap8",
    f"-netdev tap,id=n0,ifname=tap9 -net nic,netdev=n0,macaddr={MAC}",
    # libvirt: descriptors, then JSON
    f"-netdev tap,fd=31,id=hostnet0,vhost=on,vhostfd=33 "
    f"-device virtio-net-pci,netdev=hostnet0,id=net0,mac={MAC},bus=pci.1,addr=0x0",
    f"-netdev tap,fds=30:31,id=h0 -device virtio-net-pci,mq=on,netdev=h0,mac={MAC}",
    '-netdev {"type":"tap","fd":"31","vhost":true,"vhostfd":"33","id":"hostnet0"} '
    f'-device {{"driver":"virtio-net-pci","netdev":"hostnet0","mac":"{MAC}"}}',
    '-netdev {"type":"tap","ifname":"tap9","id":"h0"} '
    f'-device {{"driver":"virtio-net-pci","netdev":"h0","mac":"{MAC}"}}',
    # as written by hand
    "-nic tap,ifname=tap9,mac=52-54-00-12-34-56",
)

UNKNOWN = (
    "",
    "-netdev",
    f"-netdev tap,id=n0,ifname=tap8 -device e1000,netdev=n0,mac={MAC}",
    f"-netdev tap,id=n0,fd=30 -device e1000,netdev=n0,mac={MAC}",
    f"-netdev user,id=n0,ifname=tap9 -device e1000,netdev=n0,mac={MAC}",
    f"-netdev tap,id=n0,ifname=tap9 -device e1000,netdev=n1,mac={MAC}",
    f"-netdev tap,ifname=tap9 -device e1000,mac={MAC}",
    "-netdev tap,id=n0,ifname=tap9 -device e1000,netdev=n0",
    "-nic tap,ifname=tap9,mac=52:54:00:12:34",
    "-nic tap,ifname=tap9,mac=52:54:00:12:34:56:78",
    "-nic tap,ifname=tap9,mac=auto",
    # a hub with two cards: which of them?
    f"-net nic,macaddr={MAC} -net nic,macaddr={OTHER} -net tap,ifname=tap9",
    "-netdev {not-json -device {}",
    "ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach",
)


@pytest.mark.parametrize("line", FOUND)
def test_the_address_of_the_card_behind_a_tap(line: str) -> None:
    assert guest_mac(["qemu", *line.split()], "tap9", (31,)) == MAC


@pytest.mark.parametrize("line", UNKNOWN)
def test_no_address_is_better_than_a_wrong_one(line: str) -> None:
    assert guest_mac(["qemu", *line.split()], "tap9", (31,)) is None


UNNAMED = (
    f"-netdev tap,id=n0 -device e1000,netdev=n0,mac={MAC}",
    f"-netdev bridge,id=n0,br=br0 -device e1000,netdev=n0,mac={MAC}",
    f"-nic bridge,br=br0,mac={MAC}",
    f"-net nic,macaddr={MAC} -net tap",
    f"-netdev user,id=u -device e1000,netdev=u,mac={OTHER} -nic tap,mac={MAC}",
)


@pytest.mark.parametrize("line", UNNAMED)
def test_a_tap_that_the_kernel_named_is_known_if_it_is_the_only_one(line: str) -> None:
    argv = ["qemu", *line.split()]
    assert guest_mac(argv, "tap9", (31,), alone=True) == MAC
    assert guest_mac(argv, "tap9", (31,), alone=False) is None
    assert guest_mac([*argv, "-nic", f"tap,mac={OTHER}"], "tap9", (31,), True) is None


ARGUMENTS = st.one_of(
    st.sampled_from(("-netdev", "-device", "-nic", "-net", "--netdev")),
    st.from_regex(r'[{\[,]*("?(type|id|ifname|mac|netdev|fd)"?[:=,]"?(tap|nic)?.?)*'),
    st.text(),
    st.binary().map(lambda octets: octets.decode("utf-8", "surrogateescape")),
)


@given(
    st.lists(ARGUMENTS), st.text(), st.lists(st.integers(), max_size=3), st.booleans()
)
@example(["-netdev", "[" * 100_000], "tap9", [], False)
@example(["-netdev", '{"a":' * 100_000], "tap9", [], False)
@example(["-netdev", '{"id":' + "9" * 5000 + "}"], "tap9", [], False)
@example(["-netdev", ""], "tap9", [], True)
def test_any_command_line_has_an_answer(
    argv: list[str], ifname: str, fds: list[int], alone: bool
) -> None:
    answer = guest_mac(argv, ifname, fds, alone)
    assert answer is None or len(answer) == 17
