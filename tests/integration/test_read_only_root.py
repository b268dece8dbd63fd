"""A root that cannot be written, as in a container, with one folder that can."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEADLINE

pytestmark = pytest.mark.long

# $1 stays writable; the kernel's own mounts, such as /proc, are not touched.
SCRIPT = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,ro,bind /
for folder in /tmp /var/tmp /usr/tmp; do
    if mountpoint -q $folder 2>/dev/null; then mount -o remount,ro,bind $folder; fi
done
cd /
exec env -i PATH="$PATH" HOME=/nonexistent OPREL_HOME="$1/home" "$2" -P -c "$3"
"""
PROGRAM = """
import tempfile
try:
    tempfile.gettempdir()
except FileNotFoundError:
    print("no temporary files")
import oprel
with oprel.Model("guide", use_server=False) as model:
    print(model.generate("hello", options={"num_predict": 5, "num_ctx": 512}, think=False) != "")
"""


def test_a_model_runs_where_only_the_home_can_be_written(home: Path) -> None:
    if subprocess.run(["unshare", "-rm", "mount", "--make-rprivate", "/"], capture_output=True).returncode:
        pytest.skip("namespaces of mounts are not available here")
    command = ["unshare", "-rm", "sh", "-c", SCRIPT, "sh", str(home), sys.executable, PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["no temporary files", "True"]
