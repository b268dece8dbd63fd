"""`oprel bench run` with a real engine."""

import json
from collections.abc import Callable

import pytest

from oprel.cli.benchmarks import benchmark
from oprel.cli.main import main
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.names import GUIDE
from tests.conftest import RunningDaemon
from tests.fixtures.gguf_factory import write_tiny_gguf

pytestmark = pytest.mark.timeout(120)


def test_models_are_measured_side_by_side_and_compared_with_the_last_time(
    start_daemon: Callable[..., RunningDaemon], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "RUNS", 1)
    daemon = start_daemon()
    weights = write_tiny_gguf(daemon.config.home_dir / "tiny.gguf")
    for tag in ("one", "two"):
        Manifests(daemon.config.models_dir).put(Manifest(name=f"tiny:{tag}", weights=weights))
    home = f"--home={daemon.config.home_dir}"
    assert main(["bench", "run", GUIDE, "tiny", home]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["MODEL", f"{GUIDE}:latest", "tiny:one", "tiny:two"]
    assert all(len(line) <= 80 for line in printed)

    assert main(["bench", "run", GUIDE, "--json", home]) == 0
    ((compared),) = json.loads(capsys.readouterr().out)["benchmarks"]
    now, before = compared["benchmark"], compared["previous"]
    assert min(now["prefill_speed"], now["decode_speed"], now["first_token_seconds"], now["expected_bytes"]) > 0
    assert [now[name] for name in ("model", "digest", "machine", "settings")] == [
        before[name] for name in ("model", "digest", "machine", "settings")
    ]
    assert len((daemon.config.home_dir / "benchmarks.jsonl").read_text().splitlines()) == 4
    with daemon.client as client:
        assert not client.engines().models  # none was loaded before
