"""How fast a machine reads its memory: measured once, stored, and given up when it must be."""

import threading
from dataclasses import replace

import pytest

from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.devices import CPU, Memory
from oprel.telemetry.hardware.probing import Hardware

GB = 10**9
HERE = Hardware(CPU(name="one", physical_cores=2, logical_cores=2), Memory(total_bytes=4 * GB, available_bytes=GB))


def test_a_measurement_is_recalled_on_this_machine_only(tmp_path) -> None:
    rates = bandwidth.measure(HERE, seconds=0.05)
    assert rates and rates.memory > GB // 10 and rates.core > GB // 10
    bandwidth.remember(tmp_path, HERE, rates)
    recalled = bandwidth.recall(tmp_path, HERE)
    assert (recalled.memory.bandwidth_bytes, recalled.cpu.scan_bytes) == (rates.memory, rates.core)
    other = replace(HERE, cpu=CPU(name="another", physical_cores=2, logical_cores=2))
    assert bandwidth.recall(tmp_path, other) == other


def test_a_measurement_that_is_stopped_has_no_result() -> None:
    stop = threading.Event()
    stop.set()
    assert bandwidth.measure(HERE, seconds=3600, stop=stop) is None


def test_little_memory_is_not_measured() -> None:
    assert bandwidth.measure(replace(HERE, memory=Memory(total_bytes=GB, available_bytes=GB // 10))) is None


def test_no_thread_waits_for_one_that_was_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start, before = threading.Thread.start, threading.active_count()
    starts = iter([True, False])

    def start_first(thread: threading.Thread) -> None:
        if not next(starts):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_first)
    with pytest.raises(RuntimeError):
        bandwidth.scan(2, 3600, bandwidth.CACHED_BLOCK, threading.Event())
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"one, 2 threads, x86_64": "fast"}', b'{"one, 2 threads, x86_64": 28000000000}'],
)
def test_a_damaged_or_old_record_counts_as_none(tmp_path, content: bytes) -> None:
    (tmp_path / bandwidth.FILE).write_bytes(content)
    assert bandwidth.recall(tmp_path, HERE) == HERE
