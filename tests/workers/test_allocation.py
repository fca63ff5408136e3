"""Allocation of devices: all that is requested or nothing, to one owner at a time."""

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
    """Return a function that registers this host with so many slots and GPUs."""
    monkeypatch.setenv("STILLROOM_HOST_NAME", "gpu-3")

    def register(slots: int, gpus: int = 0) -> Node:
        devices = [DetectedDevice("cpu", index, "", None) for index in range(slots)]
        devices += [DetectedDevice("cuda", index, "H200", 2**37) for index in range(gpus)]
        monkeypatch.setattr(hardware, "devices", lambda: devices)
        return registration.register()

    return register


def allocations(node: Node) -> list[str]:
    return list(node.devices.order_by("kind", "index").values_list("allocated_to", flat=True))


@pytest.mark.django_db
def test_a_claim_gets_all_or_nothing(has: Any) -> None:
    node = has(slots=2, gpus=3)
    devices = allocation.claim(2, "cuda", "run/a/1")
    assert devices is not None and [device.index for device in devices] == [0, 1]
    assert allocation.claim(2, "cuda", "run/b/1") is None, "one is free"
    assert allocations(node) == ["", "", "run/a/1", "run/a/1", ""]
    assert allocation.claim(1, "cuda", "run/b/1", node="elsewhere") is None


@pytest.mark.django_db
def test_a_release_frees_the_devices_of_its_owner_only_and_only_once(has: Any) -> None:
    node = has(slots=2)
    allocation.claim(1, "cpu", "run/a/1")
    allocation.claim(1, "cpu", "run/a/2")
    assert (allocation.release("run/a/1"), allocation.release("run/a/1")) == (1, 0)
    assert allocations(node) == ["", "run/a/2"]


@pytest.mark.django_db(transaction=True)
def test_simultaneous_claims_never_share_a_device(has: Any) -> None:
    has(slots=5)
    claims: list[list[Device] | None] = []
    gate = threading.Barrier(6)

    def claim(name: str) -> None:
        gate.wait()
        claims.append(allocation.claim(2, "cpu", name))
        connections.close_all()

    threads = [threading.Thread(target=claim, args=[f"shard/{n}/1"]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    device_ids = [device.pk for devices in claims if devices is not None for device in devices]
    assert len(device_ids) == len(set(device_ids)) <= 4
    assert Device.objects.exclude(allocated_to="").count() == len(device_ids)


@pytest.mark.django_db
def test_a_device_that_the_machine_lost_is_not_allocated_again(has: Any) -> None:
    node = has(slots=1, gpus=2)
    allocation.claim(1, "cuda", "run/a/1")
    has(slots=1, gpus=0)
    assert allocations(node) == ["", "run/a/1"], (
        "a free device is deleted, an allocated one stays until it is released"
    )
    allocation.release("run/a/1")
    assert allocations(node) == [""]
    assert allocation.claim(1, "cuda", "run/b/1") is None


@pytest.mark.django_db
def test_a_restart_keeps_allocations_and_draining(has: Any) -> None:
    node = has(slots=2)
    allocation.claim(1, "cpu", "run/a/1")
    Node.objects.update(draining=True)
    has(slots=2)
    node.refresh_from_db()
    assert node.draining and allocations(node) == ["run/a/1", ""]


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


def test_gpus_are_those_of_the_driver_limited_to_visible_devices(
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
