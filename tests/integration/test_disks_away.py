"""A disk with models that is away and comes back: nothing is forgotten, and nothing is written where it would be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.cli.main import main
from oprel.core.exceptions import DownloadError, ModelAwayError
from tests.conftest import RunningDaemon, eventually
from tests.fixtures.hub_server import HubServer
from tests.fixtures.model_stores import add_to_ollama

pytestmark = pytest.mark.long


def test_everything_is_there_again_when_the_disk_is(
    start_daemon: Callable[..., RunningDaemon],
    tmp_path: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk, unplugged, served = tmp_path / "disk", tmp_path / "unplugged", tmp_path / "served"
    monkeypatch.setenv("OLLAMA_MODELS", str(disk / "ollama"))
    add_to_ollama(disk / "ollama", "registry.ollama.ai/library/their/latest", [("model", tiny.read_bytes())])
    for name in ("one", "two"):
        (served / "org" / name).mkdir(parents=True)
        (served / "org" / name / "m-Q8_0.gguf").write_bytes(tiny.read_bytes())
    names = ["hf.co/org/one:Q8_0", "their:latest"]
    with HubServer(served).running() as hub:
        settings = {"hf_endpoint": hub.url, "cache_dir": str(disk / "hub"), "in_place": "on"}
        daemon = start_daemon(**settings)
        with daemon.client as client:
            client.pull(names[0])
            for name in names:
                client.load(name, keep_alive=-1)
        daemon.end()
        disk.rename(unplugged)
        disk.mkdir()

        daemon = start_daemon(**settings)
        with daemon.client as client:
            assert {model.name: model.away for model in client.list().models if model.away} == {
                names[0]: str(disk / "hub"),
                names[1]: str(disk / "ollama"),
            }
            assert sorted(model.name for model in client.library(status="away").models) == names
            for name in names:
                with pytest.raises(ModelAwayError):
                    client.generate(name, "x")
            for name in (names[0], "hf.co/org/two"):
                with pytest.raises(DownloadError, match="is missing, empty or not readable"):
                    client.pull(name)
            task = client.download("hf.co/org/two")
            eventually(lambda: (client.download_status(task.id).waiting or "").startswith("waiting for the disk: "))
            client.clear_cache()
            assert list(disk.iterdir()) == []
            main(["doctor", "--json", "--home", str(daemon.config.home_dir)])
            told = [finding["text"] for finding in json.loads(capsys.readouterr().out)["findings"]]
            for folder, name in zip(("hub", "ollama"), names, strict=True):
                assert any(text.startswith(f"{disk / folder}, ") and name in text for text in told)
        daemon.end()
        loaded = json.loads((daemon.config.home_dir / "loaded.json").read_text())
        assert sorted(entry["name"] for entry in loaded) == names

        with start_daemon(**settings).client as client:
            disk.rmdir()
            unplugged.rename(disk)
            eventually(lambda: sorted(model.name for model in client.engines().models) == names)
            eventually(lambda: client.download_status(task.id).state == "done")
            assert not any(model.away for model in client.list().models)
