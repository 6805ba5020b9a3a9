"""Every spelling of a pod and a container in a cgroup path is read back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.identity.cgroup import CgroupOwner, owner_of

UID = "3ae65e4f-ef60-4b67-9e2b-1bbcaa1ecd21"
UID_ = UID.replace("-", "_")
STATIC = "5b1a1f2e9d0c4b7a8e6f3d2c1b0a9f8e"
ID = "0c8d9f5a" * 8
OUTER = "f00dfeed" * 8
POD = CgroupOwner(UID, ID)
CONTAINER = CgroupOwner("", ID)


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        pytest.param(f"/kubepods/burstable/pod{UID}/{ID}", POD, id="containerd-cgroupfs"),
        pytest.param(f"/kubepods/pod{UID}/{ID}", POD, id="guaranteed-cgroupfs"),
        pytest.param(f"/kubepods/besteffort/pod{STATIC}/{ID}", CgroupOwner(STATIC, ID), id="static-pod-cgroupfs"),
        pytest.param(f"/kubepods/pod{UID}/crio-{ID}", POD, id="crio-cgroupfs"),
        pytest.param(f"/kubepods/burstable/pod{UID}", CgroupOwner(UID, ""), id="pod-without-container"),
        pytest.param(
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
            POD,
            id="containerd-systemd",
        ),
        pytest.param(
            f"/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope", POD, id="guaranteed-systemd"
        ),
        pytest.param(
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/crio-{ID}.scope/container",
            CgroupOwner(STATIC, ID),
            id="static-pod-crio-systemd-crun",
        ),
        pytest.param(
            f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/docker-{ID}.scope",
            POD,
            id="cri-dockerd-systemd",
        ),
        pytest.param(
            f"/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
            POD,
            id="systemd-path-for-the-cgroupfs-driver",
        ),
        pytest.param(
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/crio-conmon-{ID}.scope",
            CgroupOwner(UID, ""),
            id="the-monitor-of-a-container-is-not-in-it",
        ),
        pytest.param(f"/docker/{ID}", CONTAINER, id="docker-cgroupfs"),
        pytest.param(f"/system.slice/docker-{ID}.scope", CONTAINER, id="docker-systemd"),
        pytest.param(f"/libpod_parent/libpod-{ID}", CONTAINER, id="podman-cgroupfs"),
        pytest.param(f"/machine.slice/libpod-{ID}.scope/container", CONTAINER, id="podman-systemd"),
        pytest.param(
            f"/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-{ID}.scope", CONTAINER, id="podman-in-a-podman-pod"
        ),
        pytest.param(
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
            CONTAINER,
            id="podman-rootless",
        ),
        pytest.param(f"/system.slice/nerdctl-{ID}.scope", CONTAINER, id="nerdctl-systemd"),
        pytest.param(f"/k8s.io/{ID}", CONTAINER, id="containerd-cri-without-parent"),
        pytest.param(f"/default/{ID}", CONTAINER, id="nerdctl-cgroupfs"),
        pytest.param("/default/web.1", CgroupOwner("", "web.1"), id="ctr-run-with-a-name"),
        pytest.param("/default/web/worker", CgroupOwner("", "web"), id="cgroup-inside-a-named-container"),
        pytest.param(f"/docker/{OUTER}/kubelet/kubepods/burstable/pod{UID}/{ID}", POD, id="kind-cgroupfs"),
        pytest.param(
            f"/system.slice/docker-{OUTER}.scope/kubelet.slice/kubelet-kubepods.slice/"
            f"kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
            POD,
            id="kind-systemd",
        ),
        pytest.param(f"/docker/{ID}/kubelet.slice/kubelet.service", CONTAINER, id="the-kubelet-of-kind"),
        pytest.param(
            f"/docker/{OUTER}/kubelet/kubepods/burstable/pod{UID}",
            CgroupOwner(UID, ""),
            id="kind-cgroupfs-pod-without-container",
        ),
        pytest.param(
            f"/system.slice/docker-{OUTER}.scope/kubelet.slice/kubelet-kubepods.slice/"
            f"kubelet-kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope",
            CgroupOwner(UID, ""),
            id="kind-systemd-monitor-of-a-container",
        ),
        pytest.param(
            f"/kubepods/burstable/pod{STATIC}/{OUTER}/kubelet/kubepods/pod{UID}/{ID}", POD, id="kind-in-a-pod"
        ),
        pytest.param(
            f"/kubepods/burstable/pod{STATIC}/{OUTER}/kubelet/kubepods/pod{UID}",
            CgroupOwner(UID, ""),
            id="kind-in-a-pod-pod-without-container",
        ),
        pytest.param(f"/kubepods/pod{UID}/{OUTER}/docker/{ID}", POD, id="docker-in-a-pod"),
        pytest.param(f"/docker/{OUTER}/docker/{ID}", CONTAINER, id="docker-in-docker"),
        pytest.param(f"/../../pod{UID}/{ID}", POD, id="seen-from-another-pod-cgroupfs"),
        pytest.param(
            f"/../../kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
            POD,
            id="seen-from-another-pod-systemd",
        ),
        pytest.param(f"/../cri-containerd-{ID}.scope", CONTAINER, id="seen-from-a-sibling-container"),
        pytest.param("/../../default/web", CgroupOwner("", "web"), id="named-container-seen-from-another"),
        pytest.param(f"/kubepods/pod{UID}/{ID} (deleted)", POD, id="cgroup-already-removed"),
        pytest.param("/", None, id="root"),
        pytest.param("/system.slice/containerd.service", None, id="service"),
        pytest.param("/user.slice/user-0.slice/session-1.scope", None, id="session"),
        pytest.param(f"/process_api/{STATIC}", None, id="32-digits-are-no-container"),
        pytest.param(f"/machine.slice/libpod-conmon-{ID}.scope", None, id="monitor-of-podman"),
        pytest.param(f"/user.slice/x{ID}", None, id="digits-within-a-word"),
        pytest.param("/system.slice/default/web", None, id="not-containerd's-namespace"),
    ],
)
@pytest.mark.parametrize("hierarchy", ["0::", "5:cpu,cpuacct:", "1:name=systemd:"])
def test_path_names_its_owner(hierarchy: str, path: str, owner: CgroupOwner | None) -> None:
    assert owner_of(f"{hierarchy}{path}\n") == owner


def test_the_hierarchy_that_says_most_is_believed() -> None:
    hybrid = [
        "0::/system.slice/containerd.service",
        f"1:name=systemd:/docker/{OUTER}",
        f"4:memory:/docker/{OUTER}/kubepods/pod{UID}/{ID}",
        f"5:cpu:/kubepods/pod{UID}",
    ]
    for lines in itertools.permutations(hybrid):
        assert owner_of("\n".join(lines)) == POD


uuids = st.uuids().map(str)
config_hashes = st.text("0123456789abcdef", min_size=32, max_size=32)
ids = st.text("0123456789abcdef", min_size=64, max_size=64)
qualities = st.sampled_from(["", "burstable", "besteffort"])
outsides = st.sampled_from(["", "/..", "/../..", f"/docker/{OUTER}/kubelet", f"/system.slice/docker-{OUTER}.scope"])
insides = st.sampled_from(["", "/container", "/init.scope", "/app.slice/worker.service"])


@st.composite
def pod_paths(draw: st.DrawFn) -> tuple[str, CgroupOwner]:
    uid, container, quality = draw(uuids | config_hashes), draw(ids), draw(qualities)
    if draw(st.booleans()):
        runtime = draw(st.sampled_from(["cri-containerd", "crio", "docker"]))
        steps = ["kubepods", *filter(None, [quality])]
        slices = [f"{'-'.join(steps[: end + 1])}.slice" for end in range(len(steps))]
        pod = f"/{'/'.join(slices)}/{'-'.join(steps)}-pod{uid.replace('-', '_')}.slice"
        scope = f"/{runtime}-{container}.scope"
    else:
        pod = "/".join(["/kubepods", *filter(None, [quality]), f"pod{uid}"])
        scope = f"/{draw(st.sampled_from(['', 'crio-']))}{container}"
    return f"{draw(outsides)}{pod}{scope}{draw(insides)}", CgroupOwner(uid, container)


@st.composite
def container_paths(draw: st.DrawFn) -> tuple[str, CgroupOwner]:
    container = draw(ids)
    place = draw(
        st.sampled_from(
            [
                "/docker/{}",
                "/system.slice/docker-{}.scope",
                "/system.slice/nerdctl-{}.scope",
                "/machine.slice/libpod-{}.scope",
                "/libpod_parent/libpod-{}",
                "/k8s.io/{}",
                "/default/{}",
            ]
        )
    )
    return f"{draw(outsides)}{place.format(container)}{draw(insides)}", CgroupOwner("", container)


@st.composite
def cgroup_files(draw: st.DrawFn) -> tuple[str, CgroupOwner]:
    """A whole `/proc/PID/cgroup` of cgroups v2, of v1, or of both: all hierarchies have the path."""
    path, owner = draw(pod_paths() | container_paths())
    v1 = [f"{number}:{name}:{path}" for number, name in enumerate(["name=systemd", "cpu,cpuacct", "memory"], 1)]
    lines = draw(st.sampled_from([[f"0::{path}"], v1, [*v1, "0::/"], [*v1, f"0::{path}"]]))
    return "".join(f"{line}\n" for line in lines), owner


@given(cgroup_files())
def test_every_spelling_is_read_back(file: tuple[str, CgroupOwner]) -> None:
    text, owner = file
    assert owner_of(text) == owner


@given(
    st.text()
    | st.lists(st.sampled_from(["0::", "/", ":", "..", "pod", UID, ID, ".slice", ".scope", "kubepods-", "\n"])).map(
        "".join
    )
)
def test_no_text_breaks_the_reader(text: str) -> None:
    owner = owner_of(text)
    assert owner is None or owner.pod_uid or owner.container_id
