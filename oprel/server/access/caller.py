"""Who sends a request, and what they may do. Pure: `rights` is the table of docs/security.md."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from fnmatch import fnmatchcase

from oprel.server.access.ledger import KeyLimits


class AccessLevel(IntEnum):
    """What a route demands of its callers. Each level includes those before it."""

    ANYONE = 0
    INFERENCE = 1  # answers of installed models, and what clients ask about those
    MODELS = 2  # models are fetched, made, named and removed
    ADMIN = 3  # files by their paths, logs, crashes, prompts, settings, keys


class CallerKind(Enum):
    OWN_USER = "the daemon's own user, or root"
    WEB_PAGE = "a page with an allowed origin in the own user's browser"
    LOCAL_USER = "another user of this machine"
    OTHER_MACHINE = "another machine"


@dataclass(frozen=True)
class Policy:
    """What callers without a key may do, by the settings of the same names."""

    share_with_local_users: bool = False
    allow_unauthenticated_lan: bool = False


@dataclass(frozen=True)
class Key:
    """A key that was presented and is valid. `models` are names or patterns; none means all."""

    name: str
    access: AccessLevel
    models: tuple[str, ...] = ()
    limits: KeyLimits = KeyLimits()

    def allows(self, model: str) -> bool:
        """Whether it is for the model of that name.

        >>> key = Key("a", AccessLevel.INFERENCE, ("gemma*", "Qwen3"))
        >>> [key.allows(name) for name in ("gemma3:4b", "qwen3:latest", "qwen3:8b")]
        [True, True, False]
        """
        names = (model.lower(), model.lower().removesuffix(":latest"))
        return not self.models or any(fnmatchcase(name, text.lower()) for name in names for text in self.models)


@dataclass(frozen=True)
class Caller:
    """`kind` is None for who has a key. `user`: the user ID on this machine, where it is known. `address`: of the
    client, "" over a local socket. `page`: the origin of a web page that has one of its own."""

    kind: CallerKind | None
    access: AccessLevel
    user: int | None = None
    address: str = ""
    page: str = ""
    key: Key | None = None

    @property
    def is_admin(self) -> bool:
        return self.access >= AccessLevel.ADMIN

    @property
    def owner(self) -> str | None:
        """Whose conversations this caller goes on with; None for who cannot be told apart from others."""
        if self.is_admin:
            return ""
        if self.key:
            return f"key:{self.key.name}"
        if self.page:
            return f"page:{self.page}"
        return None if self.user is None or self.kind is CallerKind.WEB_PAGE else f"user:{self.user}"


def rights(kind: CallerKind | None, key: Key | None, policy: Policy) -> AccessLevel:
    """A key is who one is: it also limits the own user, who sends it deliberately. `kind` counts without one."""
    if key:
        return key.access
    match kind:
        case CallerKind.OWN_USER:
            return AccessLevel.ADMIN
        case CallerKind.WEB_PAGE:
            return AccessLevel.MODELS
        case CallerKind.LOCAL_USER:
            return AccessLevel.INFERENCE if policy.share_with_local_users else AccessLevel.ANYONE
        case CallerKind.OTHER_MACHINE:
            return AccessLevel.INFERENCE if policy.allow_unauthenticated_lan else AccessLevel.ANYONE
    return AccessLevel.ANYONE
