"""`oprel keys ls|add|rm|rotate|use`: the keys of callers, and the keys that this user's clients send."""

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, add_columns, columns_from, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import Column
from oprel.core.config import Config
from oprel.core.exceptions import UnsupportedError, ValidationError

if TYPE_CHECKING:
    from oprel.core.state.keys import KeyStore, StoredKey

COLUMNS = ("NAME", "KEY", "SCOPE", Column("MODELS", wraps=True), Column("REQUESTS", 1), Column("TOKENS", 1), "EXPIRES")
ACTIONS = ("ls", "add", "rm", "rotate", "use")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("keys", help="manage the keys of callers on other machines")
    parser.add_argument(
        "action", nargs="?", choices=ACTIONS, default="ls", help="ls (the default), add, rm, rotate, or use"
    )
    parser.add_argument("name", nargs="?", help="name of the key; for use: address of the daemon that it belongs to")
    parser.add_argument("--scope", choices=("inference", "admin"), default="inference", help="what a new key allows")
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="a model or pattern it is for; repeatable"
    )
    parser.add_argument("--requests", type=int, default=0, metavar="N", help="requests a minute (default: no limit)")
    parser.add_argument("--tokens", type=int, default=0, metavar="N", help="tokens a minute (default: no limit)")
    parser.add_argument("--expires", metavar="TIME", help="when it ends: 30d, 12h, or a day such as 2030-12-31")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_columns(parser, COLUMNS)
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args)
    if args.action != "ls" and not args.name:
        raise ValidationError(f"`oprel keys {args.action}` needs a name", "See `oprel help keys`.")
    if args.action == "use":
        return _use(config, args.name)
    store = _store(config)
    try:
        match args.action:
            case "add":
                return _add(store, args)
            case "rm":
                return _remove(store, args.name)
            case "rotate":
                return _rotate(store, args)
        return _list(store, args)
    finally:
        store.close()


def _store(config: Config) -> "KeyStore":
    """The keys of this machine's own daemon, which sees changes at once, and need not run."""
    from oprel.core.home import prepare_home
    from oprel.core.state.keys import KeyStore

    if config.host:
        raise UnsupportedError(
            f"the keys of the daemon at {config.host} are managed on its machine",
            "Run `oprel keys` there; `oprel keys use ADDRESS` stores the key that you got.",
        )
    prepare_home(config)
    return KeyStore.at(config.home_dir / "state.db")


def _add(store: "KeyStore", args: argparse.Namespace) -> int:
    from oprel.core.state.keys import expiry_of, new_key

    now = time.time()
    key, secret = new_key(
        args.name,
        args.scope,
        models=args.model,
        requests_per_minute=args.requests,
        tokens_per_minute=args.tokens,
        created=now,
        expires=expiry_of(args.expires, now) if args.expires else None,
    )
    store.add(key)
    _show_secret(key, secret, args)
    return 0


def _rotate(store: "KeyStore", args: argparse.Namespace) -> int:
    from oprel.core.state.keys import new_key

    old = _named(store, args.name)
    new, secret = new_key(old.name, old.scope, created=old.created)
    key = replace(old, id=new.id, salt=new.salt, hash=new.hash)
    store.replace(key)
    _show_secret(key, secret, args)
    return 0


def _remove(store: "KeyStore", name: str) -> int:
    if not store.remove(name):
        _named(store, name)
    render.line(f"removed {name}")
    return 0


def _named(store: "KeyStore", name: str) -> "StoredKey":
    for key in store.all():
        if key.name == name:
            return key
    raise ValidationError(f"there is no key {name}", "`oprel keys` lists them.")


def _show_secret(key: "StoredKey", secret: str, args: argparse.Namespace) -> None:
    """The only time that anything shows it; on standard output alone, for scripts."""
    if args.json:
        render.json(json.dumps({**_fields(key), "secret": secret}, indent=2))
        return
    render.note(f"the key {key.name}; it is shown only now:")
    render.line(secret)


def _list(store: "KeyStore", args: argparse.Namespace) -> int:
    keys = store.all()
    if args.json:
        render.json(json.dumps({"keys": [_fields(key) for key in keys]}, indent=2))
    elif not keys:
        render.note("there are no keys: `oprel keys add NAME` makes one")
    else:
        render.table(COLUMNS, map(_row, keys), columns_from(args))
    return 0


def _fields(key: "StoredKey") -> dict[str, object]:
    return {name: value for name, value in asdict(key).items() if name not in ("salt", "hash")}


def _row(key: "StoredKey") -> tuple[str, ...]:
    limits = (f"{limit}/min" if limit else "" for limit in (key.requests_per_minute, key.tokens_per_minute))
    return key.name, f"oprel_{key.id}_…", key.scope, ", ".join(key.models) or "all", *limits, _expiry(key)


def _expiry(key: "StoredKey") -> str:
    if key.expires is None:
        return "never"
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.expires))
    return f"expired {day}" if key.is_expired(time.time()) else day


def _use(config: Config, address: str) -> int:
    """Read the key from the terminal without showing it, or from standard input."""
    from getpass import getpass

    from oprel.client.base import Address
    from oprel.core.state.client_keys import keep_client_key

    target = str(Address.parse(address))
    secret = (getpass(f"key for {target}: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    keep_client_key(config.home_dir, target, secret)
    render.line(f"the key for {target} is stored" if secret else f"no key for {target} is stored any more")
    return 0
