"""What the daemon answers."""

import json
import math
import random
from array import array
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oprel import api_models as wire
from oprel.core.completion import Finish, LoadOptions, Mode, Usage
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest
from oprel.formats.gguf import read_gguf
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.server.api.common import encode
from oprel.server.inference.completions import Done
from oprel.server.models.installed_model import InstalledModel, with_every_array
from oprel.server.pool.engine_status import status_of
from oprel.server.pool.launcher import Launcher
from oprel.server.pool.load_decision import RequestedLoad, resolved
from oprel.server.pool.loaded_model import LoadedModel
from oprel.server.pool.planning import Planning
from oprel.telemetry.hardware.probing import probe
from oprel.utils.process.clock import Clock

MODIFIED = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def model(tiny: Path) -> InstalledModel:
    return InstalledModel(
        name="tiny:latest",
        manifest=Manifest(name="tiny:latest", weights=tiny),
        header=read_gguf(tiny),
        modified=MODIFIED,
    )


@pytest.fixture
def loaded(model: InstalledModel, tmp_path: Path) -> LoadedModel:
    """An engine as the manager keeps it; it was never started. The clock stands at 1000 s."""
    config = Config(home=str(tmp_path))
    binaries = EngineBinaries([])
    launcher = Launcher(
        config, binaries, Planning(config, binaries, probe()), tmp_path, Clock(), on_end=lambda *_: None
    )
    settings, requested = config.for_model(model.name), LoadOptions(num_ctx=512)
    request = RequestedLoad(requested, resolved(model, settings, requested))
    return launcher.prepare(model, settings, request, Mode.COMPLETION, residents=[])


def until(expiry: str) -> float:
    """Seconds from now."""
    return (datetime.fromisoformat(expiry) - datetime.now(UTC)).total_seconds()


def test_what_is_none_is_left_out() -> None:
    reply = wire.GenerateResponse(model="tiny", response="", done=False)
    assert encode.json_bytes(reply) == b'{"model":"tiny","response":"","done":false}'


def test_metrics_are_ollamas_and_zeros_are_left_out() -> None:
    usage = Usage(prompt_tokens=5, cached_tokens=0, completion_tokens=7, prompt_ns=11, completion_ns=13)
    measured = encode.metrics(Done(text="", finish=Finish.LENGTH, usage=usage, load_ns=17, total_ns=19))
    reply = wire.GenerateResponse.model_validate({"model": "tiny", "done": True, **measured})
    assert json.loads(encode.json_bytes(reply)) == {
        "model": "tiny",
        "response": "",
        "done": True,
        "done_reason": "length",
        "total_duration": 19,
        "load_duration": 17,
        "prompt_eval_count": 5,
        "prompt_eval_duration": 11,
        "eval_count": 7,
        "eval_duration": 13,
    }


def test_details_are_the_headers(model: InstalledModel) -> None:
    details = encode.details(model)
    assert (details.format, details.family, details.families) == ("gguf", "llama", ["llama"])
    assert (details.quantization_level, details.context_length, details.embedding_length) == ("F16", 2048, 64)
    assert details.parameter_size.endswith("K")


def test_a_running_model_tells_what_it_is_and_how_long_it_stays(loaded: LoadedModel, tiny: Path) -> None:
    loaded.lifetime.expires_at = 1060.0
    running = encode.running_model(status_of(loaded, now=1000.0))
    assert (running.name, running.model, running.context_length) == ("tiny:latest", "tiny:latest", 512)
    assert (running.size, running.size_vram) == (loaded.decision.plan.solution.expected, 0)
    assert running.digest == loaded.model.digest
    assert until(running.expires_at) == pytest.approx(60, abs=10)


@pytest.mark.parametrize(
    ("leases", "expires_at", "seconds"),
    [(0, 1060.0, 60), (0, 990.0, 0), (1, math.inf, 300), (2, 1060.0, 300)],
    ids=["idle", "overdue", "in use", "in use twice"],
)
def test_a_model_goes_some_time_after_its_last_use(
    loaded: LoadedModel, leases: int, expires_at: float, seconds: float
) -> None:
    loaded.leases, loaded.lifetime.expires_at = leases, expires_at
    assert until(encode.expiry(status_of(loaded, now=1000.0))) == pytest.approx(seconds, abs=10)


def test_what_stays_for_ever_goes_in_centuries(loaded: LoadedModel) -> None:
    assert datetime.fromisoformat(encode.expiry(status_of(loaded, now=1000.0))) == encode.FOREVER
    loaded.leases, loaded.lifetime.keep_alive = 1, math.inf
    assert datetime.fromisoformat(encode.expiry(status_of(loaded, now=1000.0))) == encode.FOREVER


def test_times_have_an_offset(loaded: LoadedModel) -> None:
    assert isinstance(datetime.fromisoformat(encode.expiry(status_of(loaded, now=0.0))).utcoffset(), timedelta)


def test_a_plain_model_shows_its_header(model: InstalledModel) -> None:
    shown = encode.show_response(model, verbose=False, shows_paths=True)
    assert (shown.system, shown.license, shown.messages) == (None, None, None)
    assert (shown.parameters or "").split() == ["stop", '"<|im_start|>"', "stop", '"<|im_end|>"']
    assert shown.template is not None and "<|im_start|>" in shown.template
    assert shown.capabilities == ["completion"]
    assert shown.modified_at == MODIFIED.isoformat()
    assert shown.modelfile.splitlines() == [
        "# Modelfile of tiny:latest, made by oprel",
        "# To build on it, begin with: FROM tiny:latest",
        f"FROM {model.weights}",
        'PARAMETER stop "<|im_start|>"',
        'PARAMETER stop "<|im_end|>"',
    ]


def test_stops_of_its_own_replace_those_of_the_template(model: InstalledModel) -> None:
    manifest = replace(model.manifest, parameters={"stop": ["###"], "top_k": 5})
    shown = encode.show_response(replace(model, manifest=manifest), verbose=False, shows_paths=True)
    assert (shown.parameters or "").split() == ["stop", '"###"', "top_k", "5"]


def test_a_verbose_answer_has_the_tokens(model: InstalledModel) -> None:
    brief, verbose = (
        encode.show_response(shown, verbose=shown is not model, shows_paths=True).model_info["tokenizer.ggml.tokens"]
        for shown in (model, with_every_array(model))
    )
    assert brief is None
    assert isinstance(verbose, list) and len(verbose) == model.vocabulary_size and "<|im_end|>" in verbose


def test_vectors_have_the_digits_of_32_bit_floats() -> None:
    numbers = random.Random(7)
    exact = array("f", [numbers.gauss(0, 0.02) for _ in range(4096)] + [0.0, 1.0, -1.0, 1e-30, 0.1, 16777217.0])
    shown = encode.scaled(exact.tolist(), 0)
    assert array("f", shown) == exact
    assert len(json.dumps(list(shown))) < 0.65 * len(json.dumps(exact.tolist()))


def test_what_a_modelfile_added_is_shown(model: InstalledModel) -> None:
    manifest = replace(
        model.manifest,
        system="Be kind.",
        parameters={"temperature": 0.5, "stop": ["a", "b"]},
        messages=(("user", "hello"),),
        license="Apache-2.0",
    )
    shown = encode.show_response(replace(model, manifest=manifest), verbose=False, shows_paths=True)
    assert (shown.system, shown.license) == ("Be kind.", "Apache-2.0")
    assert shown.messages == [wire.OllamaMessage(role="user", content="hello")]
    assert [line.split() for line in (shown.parameters or "").splitlines()] == [
        ["stop", '"a"'],
        ["stop", '"b"'],
        ["temperature", "0.5"],
    ]
    assert [line.split()[0] for line in shown.modelfile.splitlines()[3:]] == [
        "SYSTEM",
        *["PARAMETER"] * 3,
        "MESSAGE",
        "LICENSE",
    ]


def test_long_arrays_are_shown_only_when_asked_for(model: InstalledModel) -> None:
    metadata = {**model.header.metadata, "short": (1, 2, 3, 4, 5), "long": (1, 2, 3, 4, 5, 6), "odd": math.nan}
    several = replace(model, header=replace(model.header, metadata=metadata))
    brief, verbose = (
        encode.show_response(several, verbose=verbose, shows_paths=True).model_info for verbose in (False, True)
    )
    assert (brief["short"], brief["long"], verbose["long"]) == ([1, 2, 3, 4, 5], None, [1, 2, 3, 4, 5, 6])
    assert brief["odd"] is None
    assert (brief["tokenizer.ggml.tokens"], verbose["tokenizer.ggml.tokens"]) == (None, None), "they were never read"


def test_metadata_leaves_out_what_is_shown_elsewhere(model: InstalledModel) -> None:
    info = encode.show_response(model, verbose=True, shows_paths=True).model_info
    assert not encode.HIDDEN_KEYS & info.keys()
    assert info["general.architecture"] == "llama"
    assert info["general.parameter_count"] == model.header.parameter_count


def test_tensors_are_listed(model: InstalledModel) -> None:
    tensors = encode.show_response(model, verbose=False, shows_paths=True).tensors or []
    assert tensors[0] == {"name": "token_embd.weight", "type": "F16", "shape": [64, 449]}
    assert len(tensors) == len(model.header.tensors)


@pytest.mark.parametrize(
    ("vector", "dimensions", "expected"),
    [
        ((0.6, 0.8), 0, (0.6, 0.8)),
        ((0.6, 0.8), 2, (0.6, 0.8)),
        ((0.6, 0.8), 99, (0.6, 0.8)),
        ((0.6, 0.8), -1, (0.6, 0.8)),
        ((0.3, 0.4, 0.866), 2, (0.6, 0.8)),
        ((0.0, 0.0, 1.0), 2, (0.0, 0.0)),
    ],
)
def test_a_shortened_vector_has_length_1_again(
    vector: tuple[float, ...], dimensions: int, expected: tuple[float, ...]
) -> None:
    assert encode.scaled(vector, dimensions) == pytest.approx(expected)
