"""What a launcher and a warm process must have in common, for a run to be started warm.

A run started warm must be the run that a cold start would have given. What a copy can be
told (directory, most variables, log) is told. What it cannot be told is compared here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
import sys
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path

from flip_lab.core.events import Json
from flip_lab.engines.environment import process_environment

# Read by the interpreter, by C libraries or by packages while they are imported: later
# changes of these variables would not reach a process that is already warm.
_READ_EARLY = (
    *("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "JE_", "HOME", "TMP", "TEMP"),
    *("XDG_", "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "NPY_", "NUM"),
    *("TORCH", "PYTORCH", "ATEN_", "AOT", "CUDA", "CUBLAS", "CUDNN", "NVIDIA", "NCCL"),
    *("TRITON", "HIP_", "ROC", "HSA_", "SYCL", "XLA", "ARROW_", "PANDAS", "SCIPY"),
    *("SCIKIT", "SKLEARN", "JOBLIB", "LOKY", "SYMPY", "MPL", "MATPLOTLIB", "HF_"),
    *("HUGGINGFACE", "TRANSFORMERS", "DATASETS", "FSSPEC", "TOKENIZERS", "USE_"),
    *("FLWR", "GRPC_", "RAY_", "PROTOCOL_BUFFERS", "SSL", "REQUESTS_", "CURL_", "COVERAGE"),
)
_CREDENTIALS = struct.Struct("iII")  # process, user, group
_PLACED = ("torch", "flwr", "numpy", "pandas", "sklearn", "flwr_datasets", "flip_lab")


def early_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the variables that a warm process has already acted upon."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(_READ_EARLY)
    }


def inherited() -> dict[str, Json]:
    """Describe what a process has from its parent and cannot give to a copy later."""
    user: list[Json] = [*os.getresuid(), *os.getresgid(), *sorted(os.getgroups())]
    processors: list[Json] = [*sorted(os.sched_getaffinity(0))]
    namespaces: list[Json] = [_link(f"/proc/self/ns/{n}") for n in ("mnt", "net", "pid")]
    return {
        "user": user,
        "processors": processors,
        "niceness": os.nice(0),
        "limits": _read("/proc/self/limits"),
        "control_groups": _read("/proc/self/cgroup"),
        "namespaces": namespaces,
    }


def needs() -> dict[str, Json]:
    """Describe what the run process of a launch from here needs.

    Returns:
        ``environment``: all its variables; ``inherited``; ``places``: the file that each
        large package would be imported from, with this process's search path.
    """
    return {
        "environment": process_environment(),
        "inherited": inherited(),
        "places": {name: _place(name) for name in _PLACED},
    }


def _place(package: str) -> str:
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        return ""
    return str(found.origin) if found is not None and found.origin else ""


def come_from(places: Mapping[str, str], files: Collection[str]) -> bool:
    """Say whether a warm process has its packages from where a launcher would.

    Args:
        places: What ``needs`` says of the launcher.
        files: The files that the warm process has imported.
    """
    return all(
        file in files for name, file in places.items() if file and _is_loaded(name, files)
    )


def _is_loaded(package: str, files: Collection[str]) -> bool:
    return any(file.endswith(f"/{package}/__init__.py") for file in files)


def modified_ns(files: list[str]) -> dict[str, int]:
    """Say when each file was last written; -1 for one that is gone."""
    return {file: _modified_ns(file) for file in files}


def are_unchanged(files: Mapping[str, int]) -> bool:
    """Say whether the files are still those that were imported."""
    return all(_modified_ns(file) == then_ns for file, then_ns in files.items())


def _modified_ns(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns  # noqa: PTH116  # thousands at each launch
    except OSError:
        return -1


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError:
        return ""


def _link(file: str) -> str:
    try:
        return os.readlink(file)  # noqa: PTH115  # no path, a name such as mnt:[4026531841]
    except OSError:
        return ""


def umask_now() -> int:
    """Give the mask of new files' modes; asking by setting it would race with threads.

    Raises:
        OSError: If the system does not tell.
    """
    for line in _read("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == "Umask":
            return int(value, 8)
    raise OSError(errno.ENOSYS, "this system does not tell the umask")


def meeting_point(lab: Path) -> str:
    """Give the socket address of the lab's starter for this Python and this FLIP Lab.

    An abstract address: it needs no directory, has no length to exceed, is given by the
    kernel to one process only and is free again when that has died.
    """
    parts = [lab.resolve(), sys.executable, sys.version, Path(__file__).parent]
    digest = hashlib.sha256("\0".join(map(str, parts)).encode(errors="surrogateescape"))
    return f"\0flip-lab-{os.geteuid()}-{digest.hexdigest()[:32]}"


def is_of_this_user(connection: socket.socket) -> bool:
    """Whether the other side is the same user's: anybody may bind such an address."""
    level, kind = socket.SOL_SOCKET, socket.SO_PEERCRED
    peer = connection.getsockopt(level, kind, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(peer)[1] == os.geteuid()
