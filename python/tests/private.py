"""Runs a script where it meets nobody: with a /dev/shm and a loopback of its own, where the machine allows that."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

#: Brings up the loopback of a new network namespace: the flags of `lo` are UP and RUNNING then (netdevice(7)).
_UP = """
import fcntl, socket, struct
with socket.socket() as one:
    request = fcntl.ioctl(one, 0x8913, struct.pack("16sh14x", b"lo", 0))
    flags = struct.unpack("16sh14x", request)[1] | 0x1 | 0x40
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", flags))
"""


@cache
def is_allowed() -> bool:
    """Whether the machine gives us namespaces of our own."""
    command = ["unshare", "--mount", "--net", "sh", "-c", "mount -t tmpfs tmpfs /dev/shm"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def run(script: Path, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs a script of Python to its end."""
    command = [sys.executable, str(script), *arguments]
    if is_allowed():
        inside = 'mount -t tmpfs tmpfs /dev/shm && "$0" -c "$LO_UP" && exec "$0" "$@"'
        command = ["unshare", "--mount", "--net", "sh", "-c", inside, *command]
    import os

    environment = os.environ | {"LO_UP": _UP}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
