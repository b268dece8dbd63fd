"""Refuses images that an engine could not take, before it tries: it would run out of memory, or answer late. Pure.

An engine decodes all images of a request into memory before it looks at how many tokens they are.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from oprel.core.completion import CompletionRequest
from oprel.core.exceptions import ContextLengthError, ImageTooLargeError
from oprel.telemetry.memory.image_tokens import ImageTokens
from oprel.utils.images import size_of
from oprel.utils.text import human_size

LARGEST_BYTES = 64 * 1024**2  # of one image's file
LARGEST_PIXELS = 64 * 10**6  # of one image: 200 MB when it is decoded
MOST_PIXELS = 250 * 10**6  # of all images of a request
HEADER_BYTES = 256 * 1024  # in which the size is found, behind the notes and the preview that a camera adds
MOST_IMAGES = 64  # of a request
SCALE_DOWN = "Scale it down"


@dataclass(frozen=True)
class ImageFile:
    """An image of a request: the size of its file, and its width and height if its header tells."""

    size_bytes: int
    size: tuple[int, int] | None

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1] if self.size else 0


def images_in(request: CompletionRequest) -> list[ImageFile]:
    """The images of a request, in order."""
    return [_image(image) for images in _by_message(request) for image in images]


def check_sizes(images: Sequence[ImageFile], tokens: ImageTokens) -> None:
    """Raises ImageTooLargeError."""
    if len(images) > MOST_IMAGES:
        raise ImageTooLargeError(f"the request has {len(images)} images, and at most {MOST_IMAGES} are allowed")
    advice = f"{SCALE_DOWN}: the model sees it with {tokens.side} x {tokens.side} pixels." if tokens.side else ""
    for number, image in enumerate(images, 1):
        name = f"image {number} of {len(images)}" if len(images) > 1 else "the image"
        if image.size_bytes > LARGEST_BYTES:
            figures = f"has {human_size(image.size_bytes)}, but at most {human_size(LARGEST_BYTES)} are allowed"
            raise ImageTooLargeError(f"{name} {figures}", advice or f"{SCALE_DOWN}.")
        if image.size and image.pixels > LARGEST_PIXELS:
            width, height = image.size
            figures = f"has {width} x {height} pixels, but at most {_millions(LARGEST_PIXELS)} are allowed"
            raise ImageTooLargeError(f"{name} {figures}", advice or f"{SCALE_DOWN}.")
    total = sum(image.pixels for image in images)
    if total > MOST_PIXELS:
        figures = f"have {_millions(total)} pixels, but at most {_millions(MOST_PIXELS)} are allowed in a request"
        raise ImageTooLargeError(f"the {len(images)} images {figures}", "Send fewer images, or scale them down.")


def check_tokens(request: CompletionRequest, tokens: ImageTokens, num_ctx: int) -> None:
    """Raises ContextLengthError if the images alone fill the context. Those that a truncation may drop do not count."""
    images = [_image(image) for images in _by_message(request, must_stay=True) for image in images]
    least = sum(tokens.at_least(image.size) for image in images)
    if least < num_ctx:
        return
    ends = accumulate(tokens.at_least(image.size) for image in images)
    fit = sum(end < num_ctx for end in ends)
    many = f"{len(images)} images take" if len(images) > 1 else "the image takes"
    advice = f"Send at most {fit}, or scale them down." if fit else "Scale it down."
    raise ContextLengthError(
        f"{many} at least {least} tokens, but the context has {num_ctx}",
        advice,
        "Or ask for a larger `num_ctx` if the model allows one.",
    )


def _by_message(request: CompletionRequest, *, must_stay: bool = False) -> Iterator[tuple[str, ...]]:
    """The images of each message; with `must_stay` of those only that no truncation drops."""
    if not isinstance(request.prompt, tuple) or not request.prompt:
        return
    *earlier, last = request.prompt
    for message in earlier:
        if not (must_stay and request.truncate) or message.role == "system":
            yield message.images
    yield last.images


def _image(image: str) -> ImageFile:
    start = base64.b64decode(image[: HEADER_BYTES // 3 * 4])
    return ImageFile(len(image) // 4 * 3, size_of(start))


def _millions(count: int) -> str:
    return f"{count / 10**6:.0f} million"
