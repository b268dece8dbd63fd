"""What Windows is given in structures of its own; runs as if on Windows too, by test_other_systems."""

import ctypes
import importlib
import sys

import pytest


@pytest.mark.skipif(sys.platform != "win32", reason="the module of Windows")
def test_a_jobs_limits_have_the_sizes_of_the_64_bit_headers() -> None:
    windows = importlib.import_module("oprel.runtime.supervisor.processes._windows")
    basic, extended = windows.BasicLimits, windows.ExtendedLimits
    assert (ctypes.sizeof(basic), ctypes.sizeof(extended)) == (64, 144)
    assert (basic.flags.offset, extended.job_memory.offset) == (16, 120)
