"""Models that are odd in one way each, and what is said of them."""

import io
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.core.exceptions import InvalidModelError
from oprel.formats.checks import validation
from oprel.formats.checks.findings import Severity
from oprel.formats.checks.pickles import scan
from oprel.formats.checks.validation import Inspection, inspect, require_sound
from oprel.formats.ggml_types import ValueType
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.gguf_parts import write_adapter, write_projector
from tests.fixtures.hf_folder import LLAMA, encoded, entries, safetensors, write_folder
from tests.unit.formats.test_gguf import LITTLE

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
LAYERS = {f"model.layers.{number}.mlp.up_proj.weight": ("BF16", (4, 64)) for number in range(2)}
WEIGHTS = {"model.embed_tokens.weight": ("BF16", (100, 64)), **LAYERS}
WHOLE = safetensors(WEIGHTS)
TOKENIZER = {"tokenizer.json": {"model": {}}, "tokenizer_config.json": {"chat_template": "{{ messages }}"}}
SOUND: Mapping[str, object] = {"config.json": LLAMA, "model.safetensors": WHOLE, **TOKENIZER}
FIRST, SECOND = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
SPLIT = {
    FIRST: safetensors({"model.embed_tokens.weight": ("BF16", (100, 64))}),
    SECOND: safetensors(LAYERS),
}
INDEX = {"weight_map": {"model.embed_tokens.weight": FIRST, **dict.fromkeys(LAYERS, SECOND)}}
PARTS = {"config.json": LLAMA, **TOKENIZER, **SPLIT, "model.safetensors.index.json": INDEX}
GGUF = "model.gguf"


@dataclass(frozen=True)
class Calls:
    """What pickles as a call of `function`."""

    function: Callable[..., object]
    arguments: tuple[object, ...]

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


def archive(content: bytes, **others: bytes) -> bytes:
    """A file as PyTorch writes it now."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        for name, data in {"model/data.pkl": content, "model/data/0": bytes(64), **others}.items():
            file.writestr(name, data)
    return written.getvalue()


def pytorch(content: bytes) -> Mapping[str, object]:
    return {"config.json": LLAMA, **TOKENIZER, "pytorch_model.bin": content}


HARMLESS = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01ctorch._utils\n_rebuild_tensor_v2\n."
ON_STACK = pickle.dumps(Calls(os.system, ("true",)), protocol=4)  # STACK_GLOBAL
# The module's name is taken from the memo, and two further texts lie on the stack between.
MEMO = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x04true\x85R."
HIDDEN = b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x0bcollections0\x93\x8c\x04true\x85R."
ALLOWED_IN_FRONT = b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93\x8c\x04true\x85R."


def without(files: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: content for name, content in files.items() if name not in names}


def config(**changes: object) -> dict[str, object]:
    return {**SOUND, "config.json": {**LLAMA, **changes}}


def header(dtype: str = "F32", begin: int = 0, end: int = 8, shape: tuple[int, ...] = (2,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": [*shape], "data_offsets": [begin, end]}


Files = Mapping[str, object]
ODD: Mapping[str, tuple[Files, str, Severity, str]] = {
    # Files, the path in their folder ("" for the folder itself), what is found.
    "an empty folder": ({}, "", ERROR, "contains no model"),
    "a GGUF of 0 bytes": ({GGUF: b""}, GGUF, ERROR, "is empty"),
    "a GGUF cut off": ({GGUF: b"GGUF\x03"}, GGUF, ERROR, "not a usable GGUF model"),
    "a GGUF of the first version": ({GGUF: LITTLE.file(version=1)}, GGUF, ERROR, "version 1 is not supported"),
    "a GGUF of nothing": ({GGUF: LITTLE.file()}, GGUF, ERROR, "does not name an architecture"),
    "a GGUF without a vocabulary": (
        {GGUF: LITTLE.file(LITTLE.string("general.architecture", "llama"))},
        GGUF,
        ERROR,
        "has no vocabulary",
    ),
    "a part that was renamed": (
        {
            GGUF: LITTLE.file(
                LITTLE.number("split.no", ValueType.UINT16, 1), LITTLE.number("split.count", ValueType.UINT16, 3)
            )
        },
        GGUF,
        ERROR,
        "its header says part 2 of 3, but its name does not end in -00002-of-00003.gguf",
    ),
    "a Git LFS pointer": (
        {GGUF: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"},
        GGUF,
        ERROR,
        "Git LFS pointer",
    ),
    "a web page": ({"m.safetensors": b"<!DOCTYPE html><title>Log in"}, "m.safetensors", ERROR, "web page"),
    "an archive": ({GGUF: b"\x1f\x8b\x08\x00"}, GGUF, ERROR, "compressed (gzip)"),
    "a text": ({"notes.txt": "hello"}, "notes.txt", ERROR, "its format is unknown"),
    "a download that stopped": ({**SOUND, "model-2.gguf.part": b"GG"}, "", WARNING, "download is incomplete"),
    "safetensors called .bin": (
        {**without(SOUND, "model.safetensors"), "pytorch_model.bin": WHOLE},
        "",
        WARNING,
        "it is safetensors, but its name does not end in .safetensors",
    ),
    "safetensors called .gguf": ({**SOUND, GGUF: WHOLE}, GGUF, WARNING, "it is safetensors, but its name"),
    "safetensors without an ending": (
        {**without(SOUND, "model.safetensors"), "weights": WHOLE},
        "",
        WARNING,
        "it is safetensors, but its name",
    ),
    "safetensors of 0 bytes": ({**SOUND, "model.safetensors": b""}, "", ERROR, "is empty"),
    "an empty shard": ({**PARTS, SECOND: b""}, "", ERROR, "is empty"),
    "a shard without tensors": ({**PARTS, SECOND: encoded({}, 0)}, "", ERROR, "has no tensors"),
    "a missing shard": (without(PARTS, SECOND), "", ERROR, "1 of its 2 files are missing"),
    "a missing shard, and no index": (
        without(PARTS, SECOND, "model.safetensors.index.json"),
        "",
        ERROR,
        "lacks 1 of 2 parts",
    ),
    "a missing index": (
        without(PARTS, "model.safetensors.index.json"),
        "",
        WARNING,
        "model.safetensors.index.json is missing",
    ),
    "an index of another model": (
        {**PARTS, "model.safetensors.index.json": {"weight_map": {**INDEX["weight_map"], "lm_head.weight": FIRST}}},
        "",
        ERROR,
        "1 of its 4 tensors are in another file or missing, such as 'lm_head.weight'",
    ),
    "a tensor that the index does not know": (
        {**PARTS, SECOND: safetensors({**LAYERS, "extra": ("F32", (1,))})},
        "",
        WARNING,
        "it does not list 1 tensors of the parts, such as 'extra'",
    ),
    "an index that names a path": (
        {**PARTS, "model.safetensors.index.json": {"weight_map": {"a": "../../etc/passwd"}}},
        "",
        ERROR,
        "is not a file of its folder",
    ),
    "a header longer than the file": (
        {**SOUND, "model.safetensors": (1000).to_bytes(8, "little") + b"{}"},
        "",
        ERROR,
        "header needs 1000 bytes",
    ),
    "tensors that overlap": (
        {**SOUND, "model.safetensors": encoded({"a": header(), "b": header(begin=4, end=12)}, 12)},
        "",
        ERROR,
        "starts at byte 4 of the data, not at 8",
    ),
    "a dtype that there is not": (
        {**SOUND, "model.safetensors": encoded({"a": header("F31")}, 8)},
        "",
        ERROR,
        "unknown dtype 'F31'",
    ),
    "data that is cut off": (
        {**SOUND, "model.safetensors": encoded(entries(WEIGHTS), 10)},
        "",
        ERROR,
        "but its data has 10",
    ),
    "no configuration": (without(SOUND, "config.json"), "", ERROR, "it has no config.json"),
    "a configuration that is no JSON": ({**SOUND, "config.json": "{"}, "", ERROR, "config.json is not a usable model"),
    "a configuration without a class": (config(architectures=None), "", WARNING, "does not name its architectures"),
    "a width that its heads cannot share": (
        config(num_attention_heads=3),
        "",
        ERROR,
        "is not divisible by its 3 heads",
    ),
    "KV heads that do not fit": (
        config(num_key_value_heads=3),
        "",
        ERROR,
        "4 heads are not divisible by its 3 KV heads",
    ),
    "fewer layers than promised": (config(num_hidden_layers=5), "", ERROR, "tensors of 3 of its 5 layers are missing"),
    "a larger vocabulary than there is": (config(vocab_size=101), "", ERROR, "101, but 100 embeddings"),
    "a billion layers": (config(num_hidden_layers=10**9), "", ERROR, "1000000000 layers"),
    "code of its own": (config(auto_map={"AutoModel": "m.Net"}), "", WARNING, "its own code (auto_map)"),
    "a quantization without a name": (config(quantization_config={"bits": 4}), "", WARNING, "does not name a method"),
    "no tokenizer": (without(SOUND, "tokenizer.json"), "", ERROR, "it has no tokenizer"),
    "a tokenizer cut off": ({**SOUND, "tokenizer.json": '{"model": {"vo'}, "", ERROR, "not a complete JSON object"),
    "a vocabulary without merges": (
        {**without(SOUND, "tokenizer.json"), "vocab.json": {}},
        "",
        ERROR,
        "its merges.txt is missing",
    ),
    "no chat template": ({**SOUND, "tokenizer_config.json": {}}, "", NOTE, "no chat template"),
    "an adapter alone": (
        {"adapter_config.json": {}, "adapter_model.safetensors": WHOLE},
        "",
        ERROR,
        "it is an adapter (LoRA)",
    ),
    "a pickle that calls os.system": (pytorch(archive(ON_STACK)), "", ERROR, "loading it runs 'posix.system'"),
    "one of the old kind that does": (
        pytorch(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."),
        "",
        ERROR,
        "runs 'os.system'",
    ),
    "one that breaks off when it has": (pytorch(b"\x80\x02cos\nsystem\nX\x04"), "", ERROR, "runs 'os.system'"),
    "one that hides it in its memo": (pytorch(archive(MEMO)), "", ERROR, "loading it runs 'posix.system'"),
    "one that hides it on its stack": (pytorch(archive(HIDDEN)), "", ERROR, "built at run time"),
    "one that shows something else": (pytorch(archive(ALLOWED_IN_FRONT)), "", ERROR, "built at run time"),
    "one in a second pickle": (
        pytorch(archive(HARMLESS, **{"model/constants.pkl": ON_STACK})),
        "",
        ERROR,
        "'posix.system'",
    ),
    "one that calls its author's code": (
        pytorch(archive(b"\x80\x02cmy_model\nNet\n)R.")),
        "",
        WARNING,
        "'my_model.Net', which may do anything",
    ),
    "one that is a program": (
        pytorch(archive(HARMLESS, **{"model/code/__torch__.py": b""})),
        "",
        WARNING,
        "TorchScript program",
    ),
    "one as they should be": (pytorch(archive(HARMLESS)), "", NOTE, "contains nothing suspicious"),
    "an archive cut off": (pytorch(archive(HARMLESS)[:60]), "", ERROR, "its ZIP archive is damaged"),
    "an archive of something else": (
        pytorch(archive(b"").replace(b"data.pkl", b"data.txt")),
        "",
        ERROR,
        "with 0 pickles",
    ),
    "a .bin of nonsense": (pytorch(b"\x00" * 100), "", ERROR, "neither a ZIP archive nor a pickle"),
    "a bad pickle beside safetensors": ({**SOUND, "pytorch_model.bin": ON_STACK}, "", WARNING, "runs 'posix.system'"),
}


def told(found: Inspection, text: str) -> list[Severity]:
    return [one.severity for one in found.findings if text in one.what]


@pytest.mark.parametrize(("files", "name", "severity", "what"), ODD.values(), ids=ODD)
def test_odd_models(tmp_path: Path, files: Files, name: str, severity: Severity, what: str) -> None:
    found = inspect(write_folder(tmp_path, files) / name)
    assert told(found, what) == [severity], found.findings
    assert bool(found.errors) == (severity is ERROR), found.findings
    assert all(one.step for one in found.findings if one.severity is ERROR)


def test_nothing_is_the_matter_with_a_sound_model(tmp_path: Path) -> None:
    for number, files in enumerate((SOUND, PARTS)):
        found = inspect(write_folder(tmp_path / str(number), files))
        assert found.findings == () and found.info and found.info.confidence == 1.0
    assert inspect(write_tiny_gguf(tmp_path / "tiny.gguf")).findings == ()


def test_a_model_that_was_renamed_is_known_by_its_content(tmp_path: Path) -> None:
    found = inspect(write_tiny_gguf(tmp_path / "tiny.bin"))
    assert found.info and found.info.format == "gguf" and found.info.confidence == pytest.approx(0.9)
    assert [one.severity for one in found.findings] == [WARNING]
    assert "its name does not end in .gguf" in found.findings[0].what


def test_parts_of_models_are_no_models(tmp_path: Path) -> None:
    assert told(inspect(write_projector(tmp_path / "p.gguf")), "it is a projector") == [ERROR]
    assert told(inspect(write_adapter(tmp_path / "a.gguf", "cold")), "it is an adapter") == [ERROR]


def test_links_that_lead_nowhere_and_things_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    (tmp_path / "gone.gguf").symlink_to(tmp_path / "blob")
    os.mkfifo(tmp_path / "pipe.gguf")
    names = {
        "loop": "a link to itself",
        "gone": "which is missing",
        "pipe": "it is not a file",
        "none": "does not exist",
    }
    for name, what in names.items():
        found = inspect(tmp_path / f"{name}.gguf")
        assert found.info is None and told(found, what) == [ERROR]


def test_a_broken_link_in_a_folder_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, without(PARTS, SECOND))
    (tmp_path / SECOND).symlink_to("../blobs/0123")
    assert told(inspect(tmp_path), "which is missing") == [ERROR]


def test_links_in_a_circle_of_folders_are_not_followed(tmp_path: Path) -> None:
    (write_folder(tmp_path, SOUND) / "again").symlink_to(tmp_path, target_is_directory=True)
    assert inspect(tmp_path).findings == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pickletools")  # an escape in a damaged string
@settings(max_examples=200, deadline=None)
@given(
    content=st.sampled_from([ON_STACK, MEMO, archive(HARMLESS), archive(ON_STACK), pickle.dumps({"a": ["b", 1.5]}, 0)]),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=8),
    length=st.integers(1, 1000),
)
def test_any_pickle_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    mangled = bytearray(content)
    for at, byte in changes:
        mangled[at % len(mangled)] = byte
    path = tmp_path_factory.getbasetemp() / "anything.bin"
    path.write_bytes(mangled[:length])
    try:
        assert scan(path).names is not None
    except InvalidModelError as error:
        assert "(byte " in error.message


def test_a_model_with_errors_is_refused_with_the_first(tmp_path: Path) -> None:
    require_sound(write_folder(tmp_path / "good", SOUND))
    with pytest.raises(InvalidModelError, match=r"bad: it has no config\.json") as caught:
        require_sound(write_folder(tmp_path / "bad", without(SOUND, "config.json")))
    assert caught.value.resolution_steps[-1] == "`oprel inspect` shows everything."


def test_the_code_of_every_finding_is_documented() -> None:
    checks = Path(validation.__file__).parent
    source = "".join(file.read_text() for file in checks.glob("*.py"))
    codes = {
        *re.findall(r'\b(?:error|warning|note)\(\s*"([a-z-]+)"', source),
        *re.findall(r'"(other-file|old-format)"', source),
    }
    documented = (checks.parents[2] / "docs/library.md").read_text()
    assert len(codes) > 35 and {code for code in codes if f"`{code}`" not in documented} == set()
