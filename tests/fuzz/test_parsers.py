"""Whatever stands in files and answers of others is read, or refused with an error that says so: random inputs.

Inputs are random, or right ones with random changes. `bin/test fuzz` takes 1 000 for each parser, the quick tests 15.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from oprel.client.base import Address
from oprel.core.completion import PromptMessage
from oprel.core.config import load_config
from oprel.core.configuration.addresses import parse_proxies
from oprel.core.exceptions import OprelError
from oprel.core.models import modelfile
from oprel.core.models.manifests import Manifests
from oprel.core.names import ModelRef
from oprel.downloader.aliases import Aliases
from oprel.downloader.backoff import retry_after
from oprel.downloader.transfer.segments import saved_segments
from oprel.formats import ollama_manifest
from oprel.formats.detect import detect
from oprel.formats.gguf import read_gguf
from oprel.formats.hugging_face.safetensors import read_safetensors
from oprel.formats.templates import request_template
from oprel.formats.templates.go_template import to_jinja
from oprel.formats.templates.template_names import names_of
from oprel.formats.templates.thinking import thinking_of
from oprel.runtime.backends.openai.answers import Answers
from oprel.runtime.binaries.choices import read_choices
from oprel.runtime.engine import EngineLost, EngineRefused
from oprel.runtime.schemas.grammar_pattern import grammar_pattern
from oprel.runtime.schemas.grammar_schema import grammar_schema
from oprel.server.access.forwarded import client_address
from oprel.server.access.hosts import OwnHosts
from oprel.server.api.request_content import json_value
from oprel.server.inference.structured_output.checks import check_schema
from oprel.server.inference.structured_output.drafts import modern
from oprel.server.inference.structured_output.tools import function_tools
from oprel.telemetry.hardware.listed import HEADER, parse_devices
from oprel.utils.images import size_of
from oprel.utils.json.cut_json import closed_object
from oprel.utils.regex.matching import Matcher, TooComplex
from oprel.utils.regex.syntax import PatternError, parse
from oprel.utils.text import harmless, parse_duration
from oprel.utils.unpacking import unpacked

THOROUGH = settings.get_current_profile_name() == "fuzz"
EXAMPLES = 1000 if THOROUGH else 15
MOST_CPU_SECONDS = 5.0  # of one input: others would wait for it
TOKENS = (
    *(
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"{{",
        b"}}",
        b"{%",
        b"%}",
        b"[[",
        b"]]",
        b'"',
        b"\\",
        b"\\u",
    ),
    *(
        b"../",
        b"//",
        b":",
        b"@",
        b"\n",
        b"\r\n",
        b"\x1b[2J",
        b"1e999",
        b"-1",
        b"99999999999999999999",
        b"null",
        b"true",
    ),
    *(
        b"(a+)+",
        b"(?=",
        b"{9999}",
        b"[^",
        b"$ref",
        b'{"$ref":"#"}',
        b"end",
        b"range",
        b"FROM ",
        b'"""',
        b"&a [*a]",
        b"!!",
    ),
)


@dataclass(frozen=True)
class Parser:
    """`parse` gets the input, and a folder of its own; `refuses`: the errors that it documents."""

    name: str
    parse: Callable[[bytes, Path], object]
    seeds: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = (OprelError,)


def text(content: bytes) -> str:
    """Half characters come as clients send them: as surrogates."""
    return (
        content.decode("utf-8", "surrogatepass" if b"\xed\xa0" in content else "replace") if _decodes(content) else ""
    )


def _decodes(content: bytes) -> bool:
    try:
        content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return b"\xed\xa0" not in content
    return True


def of_text(parse: Callable[[str], object]) -> Callable[[bytes, Path], object]:
    return lambda content, folder: parse(text(content))


def forwarded_for(content: bytes, folder: Path) -> str:
    lines = [Headers(raw=[(name, content)]) for name in (b"x-forwarded-for", b"forwarded")]
    return " ".join(client_address(headers, parse_proxies("10.0.0.0/8")) for headers in lines)


def of_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """`read` gets the folder in which the input is a file."""

    def parsed(content: bytes, folder: Path) -> object:
        (folder / name).write_bytes(content)
        return read(folder)

    return parsed


def of_json(use: Callable[[dict], object]) -> Callable[[bytes, Path], object]:
    def parsed(content: bytes, folder: Path) -> object:
        value = json_value(content)
        return use(value) if isinstance(value, dict) else value

    return parsed


def checked_schema(schema: dict) -> object:
    current = modern(schema)
    check_schema(current)
    return grammar_schema(current)


def matched(pattern: str) -> object:
    grammar_pattern(pattern)
    return Matcher(parse(pattern)).matches("a" * 50 + "b")


def read_answers(content: bytes) -> object:
    answers = Answers()
    return [*answers.add(content), *answers.ends()]


def wait_of(header: str) -> float | None:
    seconds = retry_after(header, 0.0)
    assert seconds is None or seconds >= 0
    return seconds


def shown(words: str) -> str:
    printed = harmless(words)
    assert not any(ord(letter) < 32 and letter not in "\n\t" or letter in "\x7f\x9b\u202e" for letter in printed)
    return printed


SCHEMA = b'{"type":"object","properties":{"a":{"type":"string","pattern":"^a{1,3}(b|c)$"}},"required":["a"],"$defs":{}}'
GO = b"{{ if .System }}<s>{{ .System }}{{ end }}{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
JINJA = b"{% for m in messages %}<|{{ m['role'] }}|>{{ m.content | trim }}{% endfor %}{{ enable_thinking }}<think>"
DIGEST = b"sha256:" + b"0" * 64
OLLAMA = (
    b'{"schemaVersion":2,"layers":[{"mediaType":"application/vnd.ollama.image.model","size":1,"digest":"%b"}]}' % DIGEST
)
EVENT = b'{"choices":[{"index":0,"delta":{"content":"a","tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}'
TENSOR = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
SAFETENSORS = len(TENSOR).to_bytes(8, "little") + TENSOR + b"\0" * 4
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0"
STATE = b'{"version":1,"size":9,"sha256":"","etag":"","host":"","boot":"","segment":3,"frontier":1,"beyond":[2]}'

PARSERS = (
    Parser("GGUF", of_file("m.gguf", lambda folder: read_gguf(folder / "m.gguf")), ()),
    Parser("any model file", of_file("m.gguf", lambda folder: detect(folder / "m.gguf")), (SAFETENSORS,)),
    Parser(
        "safetensors",
        of_file("m.safetensors", lambda folder: read_safetensors(folder / "m.safetensors")),
        (SAFETENSORS,),
    ),
    Parser("Ollama's manifest", lambda content, folder: ollama_manifest.parse(content, "m"), (OLLAMA,)),
    Parser(
        "our manifest",
        of_file("m.json", lambda folder: [*Manifests(folder, folder)]),
        (b'{"name":"m:latest","weights":"/m.gguf","parameters":{"stop":["a"]}}',),
    ),
    Parser(
        "Modelfile",
        lambda content, folder: modelfile.parse(modelfile.decoded(content)),
        (b'FROM m\nPARAMETER stop "a"\nSYSTEM """b\nc"""\nMESSAGE user d\n',),
    ),
    Parser("model name", of_text(ModelRef.parse), (b"hf.co/org/repo:Q4_K_M", b"a/b:c", b"~/m.gguf", b"https://a/b")),
    Parser("duration", of_text(parse_duration), (b"5m", b"1h2m3.5s", b"-1"), (ValueError,)),
    Parser("Go template", of_text(to_jinja), (GO,)),
    Parser("Jinja template's names", of_text(names_of), (JINJA,)),
    Parser("thinking in a template", of_text(thinking_of), (JINJA,)),
    Parser(
        "image",
        lambda content, folder: size_of(content),
        (PNG, b"GIF89a\1\0\1\0", b"\xff\xd8\xff\xc0\0\x11\x08\0\1\0\1"),
    ),
    Parser(
        "compressed body",
        lambda content, folder: [unpacked(content, encoding, 1 << 20) for encoding in ("gzip", "zstd")],
        (b"\x1f\x8b\x08\0\0\0\0\0\0\3KL\4\0\xb7\xef\xdc\x83\3\0\0\0", b"\x28\xb5\x2f\xfd\4\0\x19\0\0abc"),
        (ValueError,),
    ),
    Parser("request body", lambda content, folder: json_value(content), (SCHEMA, b'[[[1e5,"\\ud800"]]]')),
    Parser("cut JSON", of_text(closed_object), (b'{"city": "Os', b'{"a":[1,{"b":tr')),
    Parser("JSON schema", of_json(checked_schema), (SCHEMA,)),
    Parser("tools", of_json(lambda tool: function_tools([tool])), (b'{"type":"function","function":{"name":"f"}}',)),
    Parser("pattern", of_text(matched), (b"^a{1,3}(b|c)$", rb"(?=a)\p{L}+[^\d]"), (PatternError, TooComplex)),
    Parser(
        "engine's event",
        lambda content, folder: read_answers(content),
        (EVENT,),
        (OprelError, EngineLost, EngineRefused),
    ),
    Parser(
        "list of devices", of_text(parse_devices), (HEADER.encode() + b"\n  CUDA0: A (24080 MiB, 23500 MiB free)\n",)
    ),
    Parser("Retry-After", of_text(wait_of), (b"2", b"Thu, 01 Jan 1970 00:00:09 GMT")),
    Parser("state of a download", of_file("p", lambda folder: saved_segments(folder / "p")), (STATE,)),
    Parser("chosen engines", of_file("engines.json", read_choices), (b'{"preferred":"a","programs":{"a":"/b"}}',)),
    Parser(
        "settings",
        of_file("config.yaml", lambda folder: load_config(file=folder / "config.yaml", environ={})),
        (b"keep_alive: 5m\nmodels:\n  a: {num_ctx: 4096}\n", b"host: [a]\n"),
    ),
    Parser("aliases", of_file("aliases.yaml", Aliases.load), (b"m:\n  huggingface: {1b: org/repo}\n",)),
    Parser("daemon's address", of_text(Address.parse), (b"http://[::1]:80", b"unix:/a/b", b"ssh://u@h")),
    Parser("Host header", of_text(lambda text: OwnHosts().has(text, "127.0.0.1")), (b"localhost:1", b"[::1]:1")),
    Parser("X-Forwarded-For", forwarded_for, (b"[::1]:1, 10.0.0.1:2, unknown", b'for="[::1]:1";by=a,for=b')),
    Parser("text for a terminal", of_text(shown), ("a\x1b]0;b\x07\u202ec\n".encode(),)),
)


@st.composite
def changed(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """One of the right inputs with up to six changes, or random bytes."""
    content = bytearray(draw(st.sampled_from([*seeds, b""])))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.integers(at, min(len(content), at + 16)))
        content[at:end] = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8), st.just(content[at:end] * 2)))
    return bytes(content)


@pytest.fixture(scope="module")
def counts() -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    yield counts
    if THOROUGH:
        print(f"\n{len(PARSERS)} parsers: {counts['inputs']} inputs, {counts['refused']} of them refused")  # noqa: T201


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_random_input_is_read_or_refused(parser: Parser, tmp_path: Path, counts: Counter[str], tiny: Path) -> None:
    seeds = parser.seeds or (tiny.read_bytes()[:8192],)

    @settings(max_examples=EXAMPLES, suppress_health_check=[*HealthCheck], database=None)
    @given(changed(seeds))
    def reads_or_refuses(content: bytes) -> None:
        counts["inputs"] += 1
        began = time.thread_time()
        try:
            parser.parse(content, tmp_path)
        except parser.refuses:
            counts["refused"] += 1
        assert time.thread_time() - began < MOST_CPU_SECONDS

    reads_or_refuses()


@pytest.mark.parametrize("seed", [GO, JINJA], ids=["Go", "Jinja"])
async def test_a_random_template_is_rendered_within_its_budget_or_refused(seed: bytes, counts: Counter[str]) -> None:
    messages = [PromptMessage("user", "u"), PromptMessage("assistant", "a")]
    inputs: list[bytes] = []

    @settings(max_examples=EXAMPLES // 10 if THOROUGH else 2, suppress_health_check=[*HealthCheck], database=None)
    @given(changed((seed,)))
    def collects(content: bytes) -> None:
        inputs.append(content)

    collects()
    for content in inputs:
        counts["inputs"] += 1
        try:
            assert isinstance(await request_template.rendered(text(content), messages), str)
        except OprelError:
            counts["refused"] += 1
