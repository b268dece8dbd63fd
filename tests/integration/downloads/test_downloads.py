"""Models fetched by a real daemon from a server that speaks the hub's protocol."""

import json
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from huggingface_hub import try_to_load_from_cache

from oprel.cli.main import main
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.exceptions import (
    DownloadError,
    InvalidModelError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from oprel.formats.headers.remote import STEPS
from oprel.preview.plan import recommend
from oprel.runtime.binaries.choices import Choices
from oprel.wire.downloads import DownloadResponse, DownloadTask
from tests.conftest import DEADLINE, RunningDaemon, eventually, running_daemon
from tests.fixtures.fake_openai_engine import WORDS, install
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.gguf_parts import write_projector
from tests.fixtures.hf_bert import write_tiny_bert
from tests.fixtures.hf_llama import write_tiny_llama
from tests.fixtures.hub_server import TOKEN, Behaviour, HubServer, Mode

QUIET = "org/quiet-GGUF"
HUB = "hf.co/{repo}:Q8_0"
ONE_TOKEN = {"num_predict": 1}


def named(repo: str) -> str:
    return HUB.format(repo=repo)


def asked_for_files(hub: HubServer, repo: str) -> list[str]:
    return [line for line in hub.seen if line.startswith(f"GET /cdn/{repo}/")]


def sent(hub: HubServer, repo: str) -> int:
    return sum(count for path, count in hub.sent.items() if path.startswith(f"/cdn/{repo}/"))


def size(hub: HubServer, repo: str) -> int:
    return (hub.folder / repo / "tiny-Q8_0.gguf").stat().st_size


def of_repo(client: Client, repo: str) -> list[DownloadResponse]:
    return [one for one in client.downloads().downloads if repo in one.model]


def begun(client: Client, name: str) -> DownloadTask:
    """A download of which some bytes are here."""
    task = client.download(name)
    eventually(lambda: client.download_status(task.id).completed > 0)
    return task


def await_status(client: Client, task: DownloadTask, status: str) -> None:
    eventually(lambda: client.download_status(task.id).state == status)


def files_of(daemon: RunningDaemon, repo: str) -> list[Path]:
    folder = daemon.config.hub_dir / f"models--{repo.replace('/', '--')}"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_pull_tells_its_steps_as_ollama_does(shared: RunningDaemon, hub: HubServer, repo: str):
    response = httpx.post(f"{shared.url}/api/pull", json={"model": named(repo)}, timeout=DEADLINE)
    lines = [json.loads(line) for line in response.text.splitlines()]
    digest = hub.repository(repo).oid("tiny-Q8_0.gguf")
    pulling = [line for line in lines if "digest" in line]
    assert {(line["status"], line["digest"]) for line in pulling} == {(f"pulling {digest[:12]}", f"sha256:{digest}")}
    assert pulling[-1]["completed"] == pulling[-1]["total"] == size(hub, repo)
    statuses = ["pulling manifest", "verifying sha256 digest", "writing manifest", "success"]
    assert [line for line in lines if line not in pulling] == [{"status": status} for status in statuses]


def test_a_pulled_model_is_listed_and_answers(client: Client, repo: str):
    assert client.pull(named(repo)).status == "success"
    assert named(repo) in [model.name for model in client.list().models]
    assert client.generate(named(repo), "Hello", options=ONE_TOKEN).eval_count == 1


def test_without_a_quant_the_one_that_suits_the_machine_is_taken(client: Client, repo: str):
    client.pull(f"hf.co/{repo}")  # of a model that small, Q8_0 suits any
    (download,) = of_repo(client, repo)
    assert (download.title, download.status) == (f"{repo} Q8_0", "done")
    assert [file.name for file in download.files] == ["tiny-Q8_0.gguf"]


def test_a_model_pulled_without_a_quant_is_listed_with_it_and_found_by_every_name(
    client: Client, hub: HubServer, repo: str
):
    client.pull(repo)
    before = asked_for_files(hub, repo)
    assert [model.name for model in client.list().models if repo in model.name] == [named(repo)]
    for name in (repo, f"hf.co/{repo}", named(repo), f"huggingface.co/{repo}:q8_0", f"hf.co/{repo}:tiny-Q8_0.gguf"):
        assert client.chat(name, [{"role": "user", "content": "Hello"}], options=ONE_TOKEN).eval_count == 1
        assert client.show(name).details
    client.pull(f"{repo}:q4_k_m")
    client.pull(f"hf.co/{repo}")
    assert asked_for_files(hub, repo)[len(before) :] == [f"GET /cdn/{repo}/tiny-Q4_K_M.gguf"]
    client.remove(f"hf.co/{repo}")
    assert [model.name for model in client.list().models if repo in model.name] == [f"hf.co/{repo}:Q4_K_M"]


def test_a_file_whose_name_tells_no_quant_is_named_itself(client: Client, hub: HubServer, tiny: Path):
    (hub.folder / "org/plain-GGUF").mkdir()
    (hub.folder / "org/plain-GGUF/model.gguf").write_bytes(tiny.read_bytes())
    client.pull("org/plain-GGUF")
    assert "hf.co/org/plain-GGUF:model.gguf" in [model.name for model in client.list().models]
    assert client.show("hf.co/org/plain-GGUF").details


def test_a_header_is_read_from_a_server_without_ranges(client: Client, hub: HubServer, repo: str):
    hub.behaviour = Behaviour(Mode.NO_RANGES)
    client.pull(f"hf.co/{repo}")
    (download,) = of_repo(client, repo)
    assert (download.title, download.status) == (f"{repo} Q8_0", "done")  # the largest that fits


def test_a_repository_is_planned_for_without_its_weights(shared: RunningDaemon, hub: HubServer, repo: str):
    found = recommend(f"hf.co/{repo}", config=shared.config)
    assert [variant.quantization for variant in found.variants] == ["Q4_K_M", "Q8_0"]
    assert (found.fits, found.quantization, list(found.rejected)) == (True, "Q8_0", ["Q4_K_M"])
    assert len(asked_for_files(hub, repo)) == 1
    assert recommend(f"hf.co/{repo}:q4_k_m", config=shared.config).quantization == "Q4_K_M"
    with pytest.raises(DownloadError, match="offline"):
        recommend(f"hf.co/{repo}", config=shared.config.replace(offline="on"))


def test_a_repository_is_inspected_by_its_headers(
    shared: RunningDaemon,
    hub: HubServer,
    repo: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    home = f"--home={shared.config.home_dir}"
    assert main(["inspect", f"hf.co/{repo}:Q8_0", home]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"hf.co/{repo}/tiny-Q8_0.gguf\n") and "No problems found." in out
    assert "gguf on the CPU" in out and sent(hub, repo) <= 2 * STEPS[0]
    (hub.folder / repo / "tiny-Q8_0.gguf").write_bytes(b"<!DOCTYPE html>")
    assert main(["inspect", f"hf.co/{repo}:Q8_0", home, "--json"]) == 4
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["path"], finding["what"]) == (f"hf.co/{repo}/tiny-Q8_0.gguf", "it is a web page")


def test_a_repository_of_safetensors_is_inspected_and_planned(
    shared: RunningDaemon, hub: HubServer, folder_repo: str, capsys: pytest.CaptureFixture[str]
):
    found = recommend(f"hf.co/{folder_repo}", config=shared.config)
    assert found.fits and found.command[1:3] == ["serve", folder_repo]
    assert found.variants[0].size_bytes == (hub.folder / folder_repo / "model.safetensors").stat().st_size
    (hub.folder / folder_repo / "tokenizer.json").unlink()
    asked = ["inspect", f"hf.co/{folder_repo}", f"--home={shared.config.home_dir}"]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HF_ENDPOINT", hub.url)
        assert main(asked) == 4
    out = capsys.readouterr().out
    assert "safetensors (confidence 1.00)" in out and "error    it has no tokenizer" in out


def test_what_was_pulled_is_found_by_hugging_faces_own_library(client: Client, shared: RunningDaemon, repo: str):
    client.pull(named(repo))
    found = try_to_load_from_cache(repo, "tiny-Q8_0.gguf", cache_dir=shared.config.hub_dir)
    assert isinstance(found, str) and Path(found).is_file()


def test_a_second_pull_fetches_nothing(client: Client, hub: HubServer, repo: str):
    client.pull(named(repo))
    before = asked_for_files(hub, repo)
    client.pull(named(repo))
    assert asked_for_files(hub, repo) == before


def test_a_projector_and_all_parts_of_a_split_model_come_along(client: Client, hub: HubServer, tiny: Path):
    folder = hub.folder / "org/eyes-GGUF"
    folder.mkdir()
    write_projector(folder / "mmproj-eyes-f16.gguf")
    for part in (1, 2):
        (folder / f"eyes-Q8_0-0000{part}-of-00002.gguf").write_bytes(tiny.read_bytes() + bytes(part))
    client.pull("hf.co/org/eyes-GGUF")
    assert len(set(asked_for_files(hub, "org/eyes-GGUF"))) == 3
    assert "vision" in client.show("hf.co/org/eyes-GGUF").capabilities
    (model,) = [one for one in client.list().models if "eyes" in one.name]
    assert model.size == sum(path.stat().st_size for path in folder.iterdir())


def test_the_url_of_a_file_of_the_hub_is_a_name_of_its_model(client: Client, hub: HubServer, repo: str):
    url = f"{hub.url}/{repo}/resolve/main/tiny-Q8_0.gguf?download=true"
    client.pull(url)
    assert client.generate(url, "Hello", options=ONE_TOKEN).eval_count == 1
    client.pull(named(repo))
    assert size(hub, repo) <= sent(hub, repo) < 1.1 * size(hub, repo), "its start is looked at before"
    assert [model.name for model in client.list().models if repo in model.name] == [named(repo)]


def test_another_url_is_fetched_and_is_the_models_name(client: Client, hub: HubServer, repo: str):
    url = f"{hub.url}/cdn/{repo}/tiny-Q8_0.gguf"
    client.pull(url)
    assert client.generate(url, "Hello", options=ONE_TOKEN).eval_count == 1
    assert [model.name for model in client.list().models if repo in model.name] == [url]


def test_a_file_of_the_hub_is_a_model_whatever_its_name_says(client: Client, hub: HubServer, repo: str):
    draft = "mtp-tiny-Q8_0.gguf"
    (hub.folder / repo / "tiny-Q8_0.gguf").rename(hub.folder / repo / draft)
    client.pull(f"{hub.url}/{repo}/resolve/main/{draft}")
    assert [model.name for model in client.list().models if repo in model.name] == [f"hf.co/{repo}:{draft}"]


def test_clients_that_want_the_same_share_one_download(
    client: Client, shared: RunningDaemon, hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    ended: list[str | None] = []

    def pull() -> None:
        with shared.client as other:
            ended.append([step.status for step in other.pull(named(repo), stream=True)][-1])

    threads = [threading.Thread(target=pull) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: of_repo(client, repo))
    hub.behaviour = Behaviour()
    for thread in threads:
        thread.join()
    assert ended == ["success"] * 3
    assert size(hub, repo) <= sent(hub, repo) <= 1.02 * size(hub, repo)  # its start is read before


def test_a_download_stops_with_the_last_client_that_waits(
    client: Client, shared: RunningDaemon, hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.SLOW, pause=0.5)
    with httpx.stream("POST", f"{shared.url}/api/pull", json={"model": named(repo)}, timeout=DEADLINE) as response:
        next(line for line in response.iter_lines() if "completed" in line)
    eventually(lambda: of_repo(client, repo)[0].status == "paused")
    hub.behaviour = Behaviour()
    client.pull(named(repo))
    assert of_repo(client, repo)[0].status == "done"
    assert sent(hub, repo) < 2 * size(hub, repo)


def test_a_task_is_paused_resumed_and_done(client: Client, hub: HubServer, repo: str):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    task = begun(client, named(repo))
    assert client.pause_download(task.id).status == "paused"
    hub.behaviour = Behaviour()
    assert client.resume_download(task.id).state == "running"
    await_status(client, task, "done")
    assert client.show(named(repo)).details


def test_a_task_tells_its_file_its_progress_and_how_it_ended(
    client: Client, shared: RunningDaemon, hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.SLOW, pause=0.3)
    task = begun(client, named(repo))
    eventually(lambda: client.download_status(task.id).speed > 0)
    running = client.download_status(task.id)
    assert (running.task_id, running.model_id, running.status) == (task.id, named(repo), "downloading")
    assert running.filename == "tiny-Q8_0.gguf" and running.url and running.url.endswith(running.filename)
    assert 0 < running.progress < 1 and running.total_size == size(hub, repo) > running.downloaded_size
    assert running.estimated_time_remaining
    rows = [row for row in client.library(status="downloading").models if row.name == named(repo)]
    assert [row.status for row in rows] == ["downloading"] and rows[0].download_progress
    hub.behaviour = Behaviour()
    await_status(client, task, "done")
    done = client.download_status(task.id)
    assert (done.status, done.progress, done.downloaded_size) == ("completed", 1.0, size(hub, repo))
    assert done.start_time == running.start_time
    tasks = httpx.get(f"{shared.url}/api/models/downloads", timeout=DEADLINE).json()["downloads"]
    assert "completed" in {each["status"] for each in tasks if each["task_id"] == task.id}
    cancelled = client.cancel_download(client.download(f"hf.co/{repo}-nonesuch").id)
    assert cancelled.status == "cancelled"


def test_a_failed_task_tells_what_kind_of_thing_went_wrong(client: Client, hub: HubServer, repo: str):
    def fault(name: str) -> str | None:
        task = client.download(name)
        eventually(lambda: client.download_status(task.id).status == "failed")
        failed = client.download_status(task.id)
        assert failed.error_message == failed.error
        client.cancel_download(task.id)
        return failed.error_type

    assert fault(f"hf.co/{repo}-nonesuch:Q8_0") == "not_found"
    hub.behaviour = Behaviour(Mode.WRONG_BYTES)
    assert fault(named(repo)) == "checksum"
    hub.behaviour = Behaviour()
    hub.gated.add(repo)
    assert fault(named(repo)) == "authentication"


def test_what_was_chosen_once_is_not_chosen_again(client: Client, hub: HubServer, repo: str):
    larger = hub.folder / repo / "tiny-Q8_0.gguf"  # so that the other one's header is read to choose by
    larger.write_bytes(larger.read_bytes() + b"\0")
    hub.behaviour = Behaviour(Mode.SLOW, pause=0.2)
    task = begun(client, f"hf.co/{repo}")
    client.pause_download(task.id)
    before = asked_for_files(hub, repo)
    hub.behaviour = Behaviour()
    client.resume_download(task.id)
    await_status(client, task, "done")
    assert set(asked_for_files(hub, repo)[len(before) :]) == {f"GET /cdn/{repo}/tiny-Q8_0.gguf"}
    assert client.show(f"hf.co/{repo}").details


def test_a_file_that_was_renamed_after_a_failed_pull_is_found(client: Client, hub: HubServer, repo: str):
    (hub.folder / repo / "tiny-Q8_0.gguf").unlink()
    hub.behaviour = Behaviour(Mode.WRONG_BYTES)
    with pytest.raises(DownloadError):
        client.pull(f"hf.co/{repo}")
    hub.behaviour = Behaviour()
    (hub.folder / repo / "tiny-Q4_K_M.gguf").rename(hub.folder / repo / "other-Q4_K_M.gguf")
    client.pull(f"hf.co/{repo}")
    assert of_repo(client, repo)[-1].status == "done"


def test_a_cancelled_task_leaves_nothing(client: Client, shared: RunningDaemon, hub: HubServer, repo: str):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    task = begun(client, named(repo))
    client.cancel_download(task.id)
    assert not of_repo(client, repo) and not files_of(shared, repo)
    with pytest.raises(ModelNotFoundError):
        client.download_status(task.id)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_download_goes_on_after_a_restart_of_the_daemon(
    number: signal.Signals, start_daemon: Callable[..., RunningDaemon], hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    first = start_daemon(hf_endpoint=hub.url)
    with first.client as client:
        task = begun(client, named(repo))
    first.end(number)
    hub.behaviour = Behaviour()
    with start_daemon(hf_endpoint=hub.url).client as client:
        await_status(client, task, "done")
        assert client.show(named(repo)).details


def test_a_task_waits_for_a_server_that_is_away(client: Client, hub: HubServer, repo: str):
    hub.behaviour = Behaviour(Mode.DOWN)
    task = client.download(named(repo))
    eventually(lambda: (client.download_status(task.id).waiting or "").startswith("waiting for the network: "))
    assert client.download_status(task.id).state == "running"
    hub.behaviour = Behaviour()
    await_status(client, task, "done")
    assert client.download_status(task.id).waiting is None


def test_a_download_outlives_a_daemon_that_starts_before_the_network(
    start_daemon: Callable[..., RunningDaemon], hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    first = start_daemon(hf_endpoint=hub.url)
    with first.client as client:
        task = begun(client, named(repo))
    first.end(signal.SIGKILL)
    second = start_daemon(hf_endpoint="http://127.0.0.1:9")
    with second.client as client:
        eventually(lambda: client.download_status(task.id).waiting)
    second.end(signal.SIGTERM)
    hub.behaviour = Behaviour()
    with start_daemon(hf_endpoint=hub.url).client as client:
        await_status(client, task, "done")


NO_LINKS = """
import errno, os

def refuse(*paths, **options):
    raise PermissionError(errno.EPERM, "Operation not permitted")

os.symlink = refuse
"""


def test_on_a_disk_without_links_a_model_is_pulled_once_runs_and_goes(
    start_daemon: Callable[..., RunningDaemon],
    hub: HubServer,
    repo: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "sitecustomize.py").write_text(NO_LINKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    daemon = start_daemon(hf_endpoint=hub.url)
    with daemon.client as client:
        for _ in range(2):
            client.pull(named(repo))
        assert client.generate(named(repo), "x", options=ONE_TOKEN).response is not None
        assert size(hub, repo) <= sent(hub, repo) <= 1.02 * size(hub, repo)  # its start is read before
        client.remove(named(repo))
        client.clear_cache()
        assert files_of(daemon, repo) == []


def test_a_failed_task_says_why_and_can_be_resumed(client: Client, hub: HubServer, repo: str):
    hub.gated.add(repo)
    task = client.download(named(repo))
    await_status(client, task, "failed")
    failed = client.download_status(task.id)
    assert "HTTP 401" in (failed.error or "") and "oprel hf login" in failed.resolution_steps[0]
    hub.gated.clear()
    client.resume_download(task.id)
    await_status(client, task, "done")


def test_a_gated_repository_is_fetched_with_the_users_token(
    start_daemon: Callable[..., RunningDaemon], hub: HubServer, repo: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.gated.add(repo)
    with start_daemon(hf_endpoint=hub.url).client as client:
        client.pull(named(repo))
        client.pull(f"{hub.url}/{repo}/resolve/main/tiny-Q8_0.gguf?download=true")
    assert not [path for _, path in hub.authorized if path.startswith("/cdn/")]


@pytest.mark.parametrize("page", ["", "/tree/main", "/blob/main/tiny-Q8_0.gguf?show_file_info=tiny-Q8_0.gguf"])
def test_a_page_of_the_hub_is_the_model_that_it_shows(client: Client, hub: HubServer, repo: str, page: str):
    client.pull(f"{hub.url}/{repo}{page}")
    assert client.show(f"{hub.url}/{repo}{page}").details


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("hf.co/org/nonesuch", "there is no repository org/nonesuch"),
        (f"hf.co/{QUIET}:Q5_0", f"{QUIET} has no Q5_0"),
        (f"hf.co/{QUIET}:other.gguf", "has no model other.gguf"),
        ("nonesuch", "he registry registry.ollama.ai has no library/nonesuch:latest"),
    ],
)
def test_what_nobody_has_is_told_and_not_kept(client: Client, name: str, step: str):
    with pytest.raises(ModelNotFoundError) as caught:
        client.pull(name)
    assert step in caught.value.resolution_steps[0]
    assert of_repo(client, name) == []


@pytest.mark.parametrize("file", ["../tiny", "a/../../b", "/etc/x", "a\0b", "x" * 10_000, "a\\b", "a//b"])
def test_a_file_whose_name_plays_tricks_is_passed_over(
    client: Client, shared: RunningDaemon, hub: HubServer, repo: str, file: str
):
    hub.tricks[repo] = f"{file}-Q8_0.gguf"
    with pytest.raises(ModelNotFoundError, match="has no Q8_0"):
        client.pull(named(repo))
    assert files_of(shared, repo) == []
    client.pull(f"hf.co/{repo}")
    assert {path.name for path in files_of(shared, repo) if path.suffix == ".gguf"} == {"tiny-Q4_K_M.gguf"}


def test_a_damaged_model_gets_no_name(client: Client, hub: HubServer, repo: str):
    (hub.folder / repo / "tiny-Q8_0.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ValidationError):
        client.pull(named(repo))
    assert named(repo) not in [model.name for model in client.list().models]


def test_a_url_of_no_model_is_named_and_leaves_nothing(
    client: Client, shared: RunningDaemon, hub: HubServer, repo: str
):
    url = f"{hub.url}/cdn/{repo}/README.md"
    with pytest.raises(InvalidModelError) as caught:
        client.pull(url)
    assert caught.value.message.startswith(f"{url} is not a usable GGUF model")
    assert not list(shared.config.urls_dir.rglob("README*"))
    assert all(any(folder.iterdir()) for folder in shared.config.urls_dir.glob("*"))


def test_the_part_of_a_version_that_its_publisher_replaced_goes(
    client: Client, shared: RunningDaemon, hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    task = begun(client, named(repo))
    client.pause_download(task.id)
    hub.behaviour = Behaviour()
    assert [path for path in files_of(shared, repo) if path.suffix == ".part"]
    write_tiny_gguf(hub.folder / repo / "tiny-Q8_0.gguf", seed=77)
    client.pull(named(repo))
    assert not [path for path in files_of(shared, repo) if ".part" in path.name]


def test_search_finds_repositories(client: Client):
    (found,) = client.search("quiet").models
    assert (found.name, found.gated) == (f"hf.co/{QUIET}", False)
    assert client.search("nonesuch").models == []


def test_offline_what_is_there_works_and_the_rest_says_why_not(
    start_daemon: Callable[..., RunningDaemon], hub: HubServer, repo: str
):
    first = start_daemon(hf_endpoint=hub.url)
    with first.client as client:
        client.pull(named(repo))
    first.end()
    asked = len(hub.seen)
    with start_daemon(hf_endpoint=hub.url, offline="on").client as client:
        assert client.generate(named(repo), "Hello", options=ONE_TOKEN).eval_count == 1
        assert client.pull(named(repo)).status == "success"
        _refuses(lambda: client.pull("hf.co/org/other"))
        _refuses(lambda: client.search("tiny"))
    assert len(hub.seen) == asked


def _refuses(ask: Callable[[], object]) -> None:
    with pytest.raises(DownloadError, match="oprel is offline"):
        ask()


def test_no_more_models_come_at_once_than_allowed(
    start_daemon: Callable[..., RunningDaemon], hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    with start_daemon(hf_endpoint=hub.url, max_concurrent_downloads=1).client as client:
        first = begun(client, named(repo))
        second = client.download(f"hf.co/{repo}:Q4_K_M")
        assert client.download_status(second.id).files == []
        hub.behaviour = Behaviour()
        await_status(client, first, "done")
        await_status(client, second, "done")


@pytest.fixture
def folder_repo(hub: HubServer) -> str:
    """A repository of safetensors, with what no engine reads beside them."""
    name = f"org/folder-{uuid.uuid4().hex[:8]}"
    write_tiny_llama(hub.folder / name)
    (hub.folder / name / "README.md").write_text("a model")
    (hub.folder / name / "modeling_own.py").write_text("raise SystemExit")
    (hub.folder / name / "original").mkdir()
    (hub.folder / name / "original" / "consolidated.safetensors").write_bytes(bytes(100))
    return name


def test_a_repository_of_safetensors_comes_whole_and_is_served(hub: HubServer, folder_repo: str, home: Path):
    Choices("vllm", {"vllm": str(install(home / "engine", "vllm"))}).write(home)
    config = Config(home=str(home), server_port=0, hf_endpoint=hub.url, ollama_registry=hub.url)
    with running_daemon(config) as daemon, daemon.client as client:
        name = f"hf.co/{folder_repo}"
        client.pull(name)
        (download,) = of_repo(client, folder_repo)
        assert {file.name for file in download.files} == {
            *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
            "model.safetensors",
        }
        assert client.chat(name, [{"role": "user", "content": "hello"}]).message.content == "".join(WORDS)
        (listed,) = [one for one in client.list().models if folder_repo in one.model]
        assert listed.details and listed.details.format == "safetensors"
        client.unload(name)
        client.delete(name)
        assert not [path for path in files_of(daemon, folder_repo) if path.suffix == ".safetensors"]


def test_without_an_engine_for_safetensors_they_are_not_fetched(client: Client, folder_repo: str):
    with pytest.raises(UnsupportedError, match="no engine for them is installed") as caught:
        client.pull(f"hf.co/{folder_repo}")
    assert "such as vLLM" in caught.value.resolution_steps[1]


def test_a_sentence_encoder_needs_no_other_engine(hub: HubServer, client: Client) -> None:
    repo = f"org/encoder-{uuid.uuid4().hex[:8]}"
    folder = write_tiny_bert(hub.folder / repo, pooling="cls")
    client.pull(f"hf.co/{repo}")
    (download,) = of_repo(client, repo)
    assert "1_Pooling/config.json" in {file.name for file in download.files}
    pulled, in_place = (client.embed(model, "a river").embeddings for model in (f"hf.co/{repo}", str(folder)))
    assert pulled == in_place
    client.delete(f"hf.co/{repo}")
