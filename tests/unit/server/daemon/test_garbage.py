"""Collections of garbage pass over modules."""

import subprocess
import sys

PROGRAM = """
import gc
from oprel.server.daemon.garbage import ModuleFreezer

ModuleFreezer().install()
frozen = gc.get_freeze_count()
request = [[] for _ in range(1000)]
gc.collect()
assert gc.get_freeze_count() == frozen  # what requests are made of stays subject to collections
import jsonschema  # imported late
gc.collect()
assert gc.get_freeze_count() > frozen + 1000
parts = [[] for _ in range(1000)]  # a module that was not complete yet goes on
frozen = gc.get_freeze_count()
gc.collect()
assert gc.get_freeze_count() >= frozen + 1000
frozen = gc.get_freeze_count()
gc.collect()
assert gc.get_freeze_count() == frozen
"""


def test_what_is_imported_late_is_left_alone_and_nothing_else() -> None:
    subprocess.run([sys.executable, "-P", "-c", PROGRAM], check=True)
