"""Machines and what they lend: everything that is asked for or nothing, to one holder at a time."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from webapp.nodes.models import Device, Node
from workers.machine import allocation, hardware, registration
from workers.machine.hardware import DetectedDevice


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register this host with so many slots and GPUs."""
    monkeypatch.setenv("STILLROOM_HOST_NAME", "gpu-3")

    def register(slots: int, gpus: int = 0) -> Node:
        found = [DetectedDevice("cpu", index, "", None) for index in range(slots)]
        found += [DetectedDevice("cuda", index, "H200", 2**37) for index in range(gpus)]
        monkeypatch.setattr(hardware, "devices", lambda: found)
        return registration.register()

    return register


def held(node: Node) -> list[str]:
    return list(node.devices.order_by("kind", "index").values_list("allocated_to", flat=True))


@pytest.mark.django_db
def test_a_claim_gets_all_or_nothing(has: Any) -> None:
    node = has(slots=2, gpus=3)
    lent = allocation.claim(2, "cuda", "run/a/1")
    assert lent is not None and [device.index for device in lent] == [0, 1]
    assert allocation.claim(2, "cuda", "run/b/1") is None, "one is free"
    assert held(node) == ["", "", "run/a/1", "run/a/1", ""]
    assert allocation.claim(1, "cuda", "run/b/1", node="elsewhere") is None


@pytest.mark.django_db
def test_devices_are_given_back_once_and_by_their_holder_alone(has: Any) -> None:
    node = has(slots=2)
    allocation.claim(1, "cpu", "run/a/1")
    allocation.claim(1, "cpu", "run/a/2")
    assert (allocation.release("run/a/1"), allocation.release("run/a/1")) == (1, 0)
    assert held(node) == ["", "run/a/2"]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_claim_at_once_nobody_shares(has: Any) -> None:
    has(slots=5)
    lent: list[list[Device] | None] = []
    gate = threading.Barrier(6)

    def claim(name: str) -> None:
        gate.wait()
        lent.append(allocation.claim(2, "cpu", name))
        connections.close_all()

    threads = [threading.Thread(target=claim, args=[f"shard/{n}/1"]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = [device.pk for some in lent if some is not None for device in some]
    assert len(got) == len(set(got)) <= 4
    assert Device.objects.exclude(allocated_to="").count() == len(got)


@pytest.mark.django_db
def test_what_a_machine_has_no_longer_is_lent_to_nobody(has: Any) -> None:
    node = has(slots=1, gpus=2)
    allocation.claim(1, "cuda", "run/a/1")
    has(slots=1, gpus=0)
    assert held(node) == ["", "run/a/1"], (
        "a free one is gone, a held one stays until it is given back"
    )
    allocation.release("run/a/1")
    assert held(node) == [""]
    assert allocation.claim(1, "cuda", "run/b/1") is None


@pytest.mark.django_db
def test_starting_again_keeps_what_is_lent_and_what_is_drained(has: Any) -> None:
    node = has(slots=2)
    allocation.claim(1, "cpu", "run/a/1")
    Node.objects.update(draining=True)
    has(slots=2)
    node.refresh_from_db()
    assert node.draining and held(node) == ["run/a/1", ""]


@pytest.mark.django_db
def test_a_heartbeat_of_an_unknown_host_registers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLROOM_HOST_NAME", "fresh")
    monkeypatch.setenv("STILLROOM_SLOTS", "3")
    registration.heartbeat()
    node = Node.objects.get(name="fresh")
    assert (
        node.devices.filter(kind="cpu").count() == 3
        and node.memory_bytes > 2**28
        and node.cpus > 0
        and node.version
    )
    Node.objects.update(heartbeat_at=node.heartbeat_at - timedelta(hours=1))
    registration.heartbeat()
    assert Node.objects.get().heartbeat_at >= node.heartbeat_at


def test_gpus_are_those_that_the_driver_lists_and_this_process_may_see(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text(
        "#!/bin/sh\necho '0, GPU-aa, NVIDIA H200, 143771'\necho '1, GPU-bb, NVIDIA H200, 143771'\n"
    )
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("STILLROOM_SLOTS", "0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = [device for device in hardware.devices() if device.kind == "cuda"]
    assert [(gpu.index, gpu.name, gpu.memory_bytes) for gpu in gpus] == [
        (n, "NVIDIA H200", 143771 * 2**20) for n in (0, 1)
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb")
    assert [device.index for device in hardware.devices() if device.kind == "cuda"] == [1]
