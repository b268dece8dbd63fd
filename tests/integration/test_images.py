"""Images in every dialect, on a real engine with a real (tiny, random) vision tower."""

import base64
import hashlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from tests.fixtures.daemons import daemon_with
from tests.fixtures.gguf_parts import PATCHES, write_projector

EXACT = {"temperature": 0, "num_predict": 8}


def png(red: int, green: int, blue: int, size: int = 28) -> str:
    """A square of one colour, as base64."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    parts = part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


RED, BLUE = png(255, 0, 0), png(0, 0, 255)
BROKEN = base64.b64encode(b"\x89PNG, but no more of it").decode()


@pytest.fixture(scope="module")
def http(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A daemon with one model several times: that sees, also with a short memory, with another's eyes, and blind."""
    folder = tmp_path_factory.mktemp("parts")
    eyes, others = write_projector(folder / "mmproj.gguf"), write_projector(folder / "narrow.gguf", width=32)
    models = (
        Manifest(name="seeing", weights=tiny, projector=eyes),
        Manifest(name="forgetful", weights=tiny, projector=eyes, parameters={"num_ctx": 64}),
        Manifest(name="misfit", weights=tiny, projector=others),
        Manifest(name="blind", weights=tiny),
    )
    with daemon_with(*models) as http:
        yield http


def chat(http: httpx.Client, *images: str, model: str = "seeing", **more: object) -> httpx.Response:
    message = {"role": "user", "content": "look", "images": list(images)}
    body = {"model": model, "messages": [message], "stream": False, "options": EXACT, **more}
    return http.post("/api/chat", json=body)


def generate(http: httpx.Client, *images: str, **more: object) -> httpx.Response:
    body = {"model": "seeing", "prompt": "look", "images": list(images), "stream": False, "options": EXACT, **more}
    return http.post("/api/generate", json=body)


def look_by_chat(http: httpx.Client, url: str) -> httpx.Response:
    """As OpenAI's clients ask."""
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "seeing", "messages": [{"role": "user", "content": parts}], "options": EXACT}
    return http.post("/v1/chat/completions", json=body)


def look_by_response(http: httpx.Client, url: str) -> httpx.Response:
    parts = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": url}]
    body = {"model": "seeing", "input": [{"role": "user", "content": parts}], "options": EXACT}
    return http.post("/v1/responses", json=body)


def look_by_message(http: httpx.Client, image: str) -> httpx.Response:
    """As Anthropic's clients ask."""
    source = {"type": "base64", "media_type": "image/png", "data": image}
    parts = [{"type": "text", "text": "look"}, {"type": "image", "source": source}]
    message = {"role": "user", "content": parts}
    body = {"model": "seeing", "max_tokens": 8, "messages": [message], "options": EXACT}
    return http.post("/v1/messages", json=body)


def told(response: httpx.Response) -> Any:
    return response.raise_for_status().json()


def complaint(response: httpx.Response) -> str:
    assert response.status_code == 400, response.text
    return str(response.json()["error"])


def test_show_tells_which_model_sees(http: httpx.Client):
    found = {name: told(http.post("/api/show", json={"model": name}))["capabilities"] for name in ("seeing", "blind")}
    assert found == {"seeing": ["completion", "vision"], "blind": ["completion"]}


def test_an_answer_depends_on_what_is_in_the_image(http: httpx.Client):
    answers = [told(chat(http, *images))["message"]["content"] for images in ((), (RED,), (BLUE,), (RED,))]
    assert len(set(answers)) == 3
    assert answers[1] == answers[3]


def test_each_image_counts_as_a_part_of_the_prompt(http: httpx.Client):
    counts = [told(chat(http, *images))["prompt_eval_count"] for images in ((), (RED,), (RED, BLUE))]
    assert [count - counts[0] for count in counts] == [0, PATCHES, 2 * PATCHES]


def test_all_dialects_show_the_model_the_same(http: httpx.Client):
    seen = told(chat(http, RED))["message"]["content"]
    assert told(generate(http, RED))["response"] == seen
    url = f"data:image/png;base64,{RED}"
    assert told(look_by_chat(http, url))["choices"][0]["message"]["content"] == seen
    assert told(look_by_response(http, url))["output"][0]["content"][0]["text"] == seen
    assert told(look_by_message(http, RED))["content"][0]["text"] == seen


def test_a_stream_is_the_same_answer_in_pieces(http: httpx.Client):
    lines = chat(http, RED, stream=True).raise_for_status().iter_lines()
    pieces = [httpx.Response(200, text=line).json()["message"]["content"] for line in lines]
    assert len(pieces) > 2
    assert "".join(pieces) == told(chat(http, RED))["message"]["content"]


def test_an_image_of_an_earlier_turn_is_still_seen(http: httpx.Client):
    def after(image: str) -> str:
        first = {"role": "user", "content": "look", "images": [image]}
        later = [{"role": "assistant", "content": "well"}, {"role": "user", "content": "and?"}]
        body = {"model": "seeing", "messages": [first, *later], "stream": False, "options": EXACT}
        return str(told(http.post("/api/chat", json=body))["message"]["content"])

    assert after(RED) != after(BLUE)


def test_an_image_of_any_size_is_taken(http: httpx.Client):
    large, small = (told(chat(http, png(255, 0, 0, size=size)))["prompt_eval_count"] for size in (300, 3))
    assert large == small


def test_a_broken_image_is_refused_and_harms_nothing(http: httpx.Client):
    before = told(chat(http, RED))["message"]["content"]
    for refused in (chat(http, BROKEN), generate(http, BROKEN), look_by_chat(http, f"data:image/png;base64,{BROKEN}")):
        assert "image" in complaint(refused)
    assert complaint(chat(http, "no base64!")).startswith("an image is not base64")
    assert told(chat(http, RED))["message"]["content"] == before


def test_an_image_that_is_too_large_is_refused_in_every_dialect(http: httpx.Client):
    content = bytearray(base64.b64decode(RED))
    content[16:24] = struct.pack(">II", 60_000, 50_000)
    large = base64.b64encode(content).decode()
    url = f"data:image/png;base64,{large}"
    answers = (
        *(chat(http, large), generate(http, large), chat(http, large, stream=True)),
        *(look_by_chat(http, url), look_by_response(http, url), look_by_message(http, large)),
    )
    for refused in answers:
        assert refused.status_code == 413
        assert "the image has 60000 x 50000 pixels, but at most 64 million are allowed" in refused.text


def test_too_many_images_are_refused_in_every_dialect(http: httpx.Client):
    many = 65
    words = "the request has 65 images, and at most 64 are allowed"
    body = {"model": "seeing", "max_tokens": 2}
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED}"}}
    source = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": RED}}
    seen = {"type": "input_image", "image_url": f"data:image/png;base64,{RED}"}
    answers = (
        chat(http, *[RED] * many, model="seeing"),
        generate(http, *[RED] * many, model="seeing"),
        http.post("/v1/chat/completions", json=body | {"messages": [{"role": "user", "content": [part] * many}]}),
        http.post("/v1/messages", json=body | {"messages": [{"role": "user", "content": [source] * many}]}),
        http.post("/v1/responses", json={"model": "seeing", "input": [{"role": "user", "content": [seen] * many}]}),
    )
    for refused in answers:
        assert refused.status_code == 413 and words in refused.text, refused.text


def test_an_image_from_the_web_is_not_fetched(http: httpx.Client):
    assert "invalid image input" in complaint(look_by_chat(http, "http://127.0.0.1:1/cat.png"))


def test_a_model_without_a_projector_refuses_images(http: httpx.Client):
    assert complaint(chat(http, RED, model="blind")) == '"blind" does not support images'
    assert complaint(generate(http, RED, model="blind")) == '"blind" does not support images'


def test_a_projector_of_another_model_is_told_with_the_reason(http: httpx.Client):
    response = chat(http, RED, model="misfit")
    assert response.status_code == 500
    assert "mismatch between text model" in response.json()["error"]


def test_a_text_that_looks_like_an_image_is_text(http: httpx.Client):
    assert told(generate(http, prompt="look <__media__>"))["response"]
    assert told(generate(http, prompt="look <image>"))["response"]


@pytest.mark.parametrize("more", [{"raw": True}, {"template": "{{ .Prompt }}"}, {"context": [1, 2]}, {"suffix": "x"}])
def test_an_image_that_would_not_be_seen_is_refused(http: httpx.Client, more: dict[str, object]):
    assert "images go with the model's own template only" in complaint(generate(http, RED, **more))


def test_an_answer_about_an_image_may_fill_the_context(http: httpx.Client):
    options = {"temperature": 0, "num_predict": 20}
    assert told(generate(http, RED, model="forgetful", shift=False, options=options))["eval_count"] == 20


def test_a_conversation_goes_on_by_its_context_in_a_model_that_sees(http: httpx.Client):
    first = told(generate(http))
    second = told(generate(http, context=first["context"]))
    assert second["prompt_eval_count"] > first["prompt_eval_count"] + first["eval_count"]


def test_a_vision_model_is_made_of_two_uploaded_files(http: httpx.Client, tiny: Path, tmp_path: Path):
    files = {"model.gguf": upload(http, tiny), "mmproj.gguf": upload(http, write_projector(tmp_path / "p.gguf"))}
    made = http.post("/api/create", json={"model": "made", "files": files, "stream": False})
    assert told(made)["status"] == "success"
    assert "vision" in told(http.post("/api/show", json={"model": "made"}))["capabilities"]
    assert told(chat(http, RED, model="made"))["message"] == told(chat(http, RED))["message"]


def upload(http: httpx.Client, file: Path) -> str:
    content = file.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    http.post(f"/api/blobs/{digest}", content=content).raise_for_status()
    return digest
