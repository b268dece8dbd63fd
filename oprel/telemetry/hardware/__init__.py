"""The hardware of this machine, or of one described in a file, at one moment."""

from oprel.telemetry.hardware.devices import CPU, GPU, Memory, MemoryLimit
from oprel.telemetry.hardware.probing import Hardware, memory_bytes, probe

__all__ = ["CPU", "GPU", "Hardware", "Memory", "MemoryLimit", "memory_bytes", "probe"]
