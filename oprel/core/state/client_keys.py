"""The keys that this user's clients send, by the addresses of the daemons that they belong to."""

import json
import os
from pathlib import Path

from oprel.core.exceptions import not_stored
from oprel.utils.files import read_own, write_atomically

FILE = "client-keys.json"  # in the home; for its user alone


def client_keys(home: Path) -> dict[str, str]:
    """Empty if there are none, or if the file cannot be used."""
    try:
        content = json.loads(read_own(home / FILE))
        return {str(address): str(secret) for address, secret in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def keep_client_key(home: Path, address: str, secret: str) -> None:
    """Store the key for a daemon; an empty one removes it. Raises OprelError."""
    keys = client_keys(home)
    keys.pop(address, None)
    content = {**keys, address: secret} if secret else keys
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        write_atomically(home / FILE, json.dumps(content).encode())
    except OSError as error:
        raise not_stored("the key cannot be stored", error, home) from error
