"""Unpacks a checked archive into a folder, and tells for which processor a program was built."""

import platform
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from oprel.core.exceptions import DownloadError, ValidationError

ELF = b"\x7fELF"
# e_machine of an ELF file (elf.h) -> the name that `platform.machine()` has for it.
MACHINES = {0x03: "i686", 0x28: "armv7l", 0x3E: "x86_64", 0xB7: "aarch64", 0xF3: "riscv64", 0x16: "s390x"}


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .whl, .zip or .tar.gz file. No file leaves the folder, and links only lead to files in it.

    Raises DownloadError if it is no such archive.
    """
    try:
        if archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(folder)  # drops what leads out of the folder, and writes links as plain files
        else:
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DownloadError(f"{archive.name} cannot be unpacked: {error}", "Its entry in the list is wrong.") from error


def executable(folder: Path, inside: str) -> Path:
    """The program at the path `inside` the folder, made executable.

    Raises ValidationError if there is none, or if it is for another processor than this machine's.
    """
    program = folder / inside
    if not program.is_file() or not program.resolve().is_relative_to(folder.resolve()):
        raise ValidationError(f"there is no program {inside} in it", "Its entry in the list is wrong.")
    if (built_for := machine_of(program)) not in ("", platform.machine()):
        raise ValidationError(f"it was built for {built_for}, and this machine is {platform.machine()}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def machine_of(program: Path) -> str:
    """The processor that an ELF program is for, by its name in Linux; "" for others."""
    with program.open("rb") as file:
        head = file.read(20)
    if not head.startswith(ELF) or len(head) < 20:
        return ""
    order = ">" if head[5] == 2 else "<"
    number = struct.unpack_from(f"{order}H", head, 18)[0]
    return MACHINES.get(number, f"another processor (ELF machine {number})")
