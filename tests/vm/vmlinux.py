"""The kernel in a boot image: an ELF file that has its BTF, as it lies in /boot where somebody has put it there."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Final

# Offsets in the image's header (Documentation/arch/x86/boot.rst).
_SETUP_SECTORS: Final = 0x1F1
_PAYLOAD: Final = 0x248
_SECTOR: Final = 512

_DECOMPRESSORS: Final = {
    bytes.fromhex("02214c18"): ("lz4", "--decompress", "--stdout"),
    bytes.fromhex("28b52ffd"): ("zstd", "--decompress", "--stdout"),
    bytes.fromhex("fd377a58"): ("xz", "--decompress", "--stdout"),
}
"""By the first bytes of what they unpack."""


def unpack(image: Path, target: Path) -> None:
    """Write the kernel that is in a boot image. Raises CalledProcessError, or KeyError for an unknown compression."""
    content = image.read_bytes()
    offset, length = struct.unpack_from("<II", content, _PAYLOAD)
    begin = (1 + content[_SETUP_SECTORS]) * _SECTOR + offset
    payload = content[begin : begin + length - 4]  # the last four bytes are the size that it unpacks to
    unfinished = target.with_suffix(".unfinished")
    with unfinished.open("wb") as output:
        subprocess.run(_DECOMPRESSORS[payload[:4]], input=payload, stdout=output, check=True)
    unfinished.rename(target)
