"""How Hugging Face's library reaches the hub, and its errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import httpx

from oprel.core.exceptions import DownloadError, ModelNotFoundError, OprelError, ValidationError
from oprel.downloader.backoff import Unreachable, is_passing
from oprel.downloader.network.clients import open_blocking_client
from oprel.downloader.network.described import LOGIN_PAGE
from oprel.downloader.network.failures import reason
from oprel.downloader.network.retries import busy, unreachable

# The daemon's environment counts, which may be older than the user's.
RESTART = "`oprel restart`"
OTHER_TOKEN = f"The daemon reads HF_TOKEN at its start: {RESTART}"


@cache
def use_our_client() -> None:
    """Have the hub's library connect as all downloads do."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import hf_request_event_hook  # what its own client has: offline mode, request ids

    def opened() -> httpx.Client:
        client = open_blocking_client({}, None)
        client.event_hooks = {"request": [hf_request_event_hook]}
        return client

    set_client_factory(opened)


@contextmanager
def hub_errors(endpoint: str, repository: str = "") -> Iterator[None]:
    """Translate the library's errors to ours."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{repository} requires you to accept its terms",
            f"Accept them at {endpoint}/{repository}, then log in with `oprel hf login`.",
            OTHER_TOKEN,
            fault="authentication",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise ModelNotFoundError(
            f"there is no repository {repository} at {endpoint}",
            "Check the name; a private repository requires `oprel hf login`.",
            OTHER_TOKEN,
        ) from error
    except errors.HfHubHTTPError as error:
        raise _http_error(endpoint, error.response) from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError("HF_HUB_OFFLINE is set for the daemon", f"Unset it, then {RESTART}") from error
    except (httpx.HTTPError, OSError) as error:
        raise unreachable(
            f"{endpoint} cannot be reached: {reason(error)}",
            error,
            "Check the address and the network.",
            f"To use another endpoint, set hf_endpoint or HF_ENDPOINT. The daemon reads them at its start: {RESTART}",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # the library trusts what answers
        raise Unreachable(
            f"{endpoint} gave an answer that no hub gives",
            LOGIN_PAGE,
            f"If it is not a hub's address, set another one: hf_endpoint or HF_ENDPOINT. Then {RESTART}",
        ) from error


def _http_error(endpoint: str, response: httpx.Response) -> OprelError:
    status = response.status_code
    if status == httpx.codes.UNAUTHORIZED:
        return ValidationError(f"{endpoint} rejects the token", "Log in again with `oprel hf login`.", OTHER_TOKEN)
    message = f"{endpoint} answered HTTP {status}"
    return busy(message, status, response.headers) if is_passing(status) else DownloadError(message, "Try again later.")
