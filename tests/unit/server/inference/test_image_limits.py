"""Images that are too large or too many are refused with figures."""

import base64
import struct

import pytest

from oprel.core.completion import CompletionRequest, PromptMessage
from oprel.core.exceptions import ContextLengthError, ImageTooLargeError
from oprel.server.inference import image_limits
from oprel.server.inference.image_limits import check_sizes, check_tokens, images_in
from oprel.telemetry.memory.image_tokens import ImageTokens

GEMMA = ImageTokens(256, 256, side=896)
QWEN = ImageTokens(8, 4096, 28)


def png(width: int, height: int, more: int = 0) -> str:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return base64.b64encode(head + bytes(more)).decode()


def request(*images: str, earlier: tuple[str, ...] = (), truncate: bool = False) -> CompletionRequest:
    messages = (PromptMessage("user", "look", images=earlier), PromptMessage("user", "look", images=images))
    return CompletionRequest(messages, truncate=truncate)


def refusal(*images: str, tokens: ImageTokens = GEMMA) -> str:
    with pytest.raises(ImageTooLargeError) as caught:
        check_sizes(images_in(request(*images)), tokens)
    return " ".join((caught.value.message, *caught.value.resolution_steps))


def test_usual_photographs_are_taken() -> None:
    check_sizes(images_in(request(*[png(4000, 3000)] * 20, earlier=(png(8000, 1),))), GEMMA)


def test_too_many_pixels() -> None:
    expected = "image 2 of 2 has 20000 x 10000 pixels, but at most 64 million are allowed Scale it down: the model sees"
    assert refusal(png(1, 1), png(20000, 10000)) == f"{expected} it with 896 x 896 pixels."
    assert refusal(png(20000, 10000), tokens=QWEN).endswith("are allowed Scale it down.")


def test_too_many_pixels_in_all() -> None:
    expected = "the 5 images have 270 million pixels, but at most 250 million are allowed in a request"
    assert refusal(*[png(6000, 9000)] * 5).startswith(expected)


def test_too_many_images() -> None:
    assert refusal(*[png(1, 1)] * 65).startswith("the request has 65 images, and at most 64 are allowed")


def test_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_limits, "LARGEST_BYTES", 1000)
    assert refusal(png(1, 1, more=2000)).startswith("the image has 2.0 KB, but at most 1.0 KB are allowed")


def test_what_is_no_image_is_left_to_the_engine() -> None:
    check_sizes(images_in(request(base64.b64encode(b"hello").decode(), "")), GEMMA)


def test_a_request_without_messages_has_no_images() -> None:
    assert images_in(CompletionRequest("text")) == []


@pytest.mark.parametrize(
    ("images", "tokens", "num_ctx", "words"),
    [
        (8, GEMMA, 2048, "8 images take at least 2048 tokens, but the context has 2048"),
        (9, GEMMA, 2048, "Send at most 7, or scale them down."),
        (1, GEMMA, 256, "the image takes at least 256 tokens, but the context has 256"),
        (1, GEMMA, 256, "Scale it down."),
    ],
)
def test_too_many_tokens(images: int, tokens: ImageTokens, num_ctx: int, words: str) -> None:
    with pytest.raises(ContextLengthError) as caught:
        check_tokens(request(*[png(1, 1)] * images), tokens, num_ctx)
    assert words in (caught.value.message, *caught.value.resolution_steps)


def test_a_large_image_takes_more_of_the_context() -> None:
    check_tokens(request(png(280, 280)), QWEN, 2048)
    with pytest.raises(ContextLengthError, match="at least 3276 tokens"):
        check_tokens(request(png(4000, 3000)), QWEN, 2048)


def test_images_that_a_truncation_drops_do_not_count() -> None:
    many = (png(1, 1),) * 20
    check_tokens(request(png(1, 1), earlier=many, truncate=True), GEMMA, 2048)
    with pytest.raises(ContextLengthError):
        check_tokens(request(png(1, 1), earlier=many), GEMMA, 2048)
