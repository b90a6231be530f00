"""Which container a cgroup belongs to: the paths that runtimes are known to make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.netlink.containers import container_of

ID = "3f4a9c0d11e2" + 52 * "b"
POD = "kubepods-burstable-pod1b2c_3d"

FOUND = (
    # what                       /proc/PID/cgroup                         name
    ("docker, v1", f"12:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}", ID[:12]),
    ("docker, v2", f"0::/system.slice/docker-{ID}.scope", ID[:12]),
    ("docker, its process inside", f"0::/system.slice/docker-{ID}.scope/init", ID[:12]),
    ("podman", f"0::/machine.slice/libpod-{ID}.scope/container", ID[:12]),
    ("podman, rootless", f"0::/user.slice/user-1000.slice/user@1000.service/"
     f"user.slice/libpod-{ID}.scope", ID[:12]),
    ("podman, cgroupfs", f"0::/libpod_parent/libpod-{ID}", ID[:12]),
    ("containerd", f"0::/default/{ID}", ID[:12]),
    ("nerdctl", f"0::/system.slice/nerdctl-{ID}.scope", ID[:12]),
    ("kubernetes, v1", f"11:pids:/kubepods/burstable/pod1b2c-3d/{ID}", ID[:12]),
    ("kubernetes, containerd", f"0::/kubepods.slice/kubepods-burstable.slice/"
     f"{POD}.slice/cri-containerd-{ID}.scope", ID[:12]),
    ("kubernetes, CRI-O", f"0::/kubepods.slice/{POD}.slice/crio-{ID}.scope", ID[:12]),
    ("containerd below systemd", f"1:cpu:/system.slice/containerd.service/{POD}.slice:"
     f"cri-containerd:{ID}", ID[:12]),
    ("from a sibling's cgroup namespace", f"0::/../docker-{ID}.scope", ID[:12]),
    ("lxc 2", "4:cpu:/lxc/web", "web"),
    ("lxc 3", "0::/lxc.payload/web/init.scope", "web"),
    ("lxc 4", "0::/lxc.payload.web/init.scope", "web"),
    ("docker in lxc", f"0::/lxc.payload.web/docker/{ID}", ID[:12]),
    ("docker in docker", f"0::/docker/{64 * 'a'}/docker/{ID}", ID[:12]),
    ("nspawn by machined", "0::/machine.slice/machine-web.scope/payload", "web"),
    ("nspawn, a dash", r"0::/machine.slice/machine-my\x2dweb.scope", "my-web"),
    ("nspawn by its unit", "0::/machine.slice/systemd-nspawn@web.service/x", "web"),
)  # fmt: skip

NONE = (
    "",
    "0::/",
    "0::/init.scope",
    "0::/user.slice/user-1000.slice/session-2.scope",
    "0::/system.slice/docker.service",
    "0::/system.slice/lxc.service",
    "0::/lxc.monitor.web",
    r"0::/machine.slice/machine-qemu\x2d1\x2dvm.scope",
    f"0::/system.slice/{ID}0.scope",
    f"0::/system.slice/{ID[:32]}.scope",
)


@pytest.mark.parametrize(("cgroups", "name"), [row[1:] for row in FOUND],
                         ids=[row[0] for row in FOUND])  # fmt: skip
def test_the_container_of_a_process(cgroups: str, name: str) -> None:
    assert container_of(cgroups + "\n") == name


@pytest.mark.parametrize("cgroups", NONE)
def test_a_process_in_no_container(cgroups: str) -> None:
    assert container_of(cgroups) is None


@given(st.text())
def test_any_path_has_an_answer(path: str) -> None:
    assert container_of(f"0::/lxc/{path}") != ""
