"""``flip_lab.connect``: open a lab elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flip_lab.client.address import read_address
from flip_lab.core.errors import MissingExtraError

if TYPE_CHECKING:
    from flip_lab.client.line import Trust
    from flip_lab.client.remote_lab import RemoteLab


def connect(
    url: str | None = None,
    *,
    token: str | None = None,
    timeout_s: float = 30.0,
    trust: Trust = None,
) -> RemoteLab:
    """Open a lab that ``flip-lab serve`` or a Jupyter server serves.

    Args:
        url: Such as ``http://127.0.0.1:8765``; a Jupyter server's URL, as it stands in the
            browser, with ``?token=…``; or ``unix:///path/of/a/socket``. Default:
            ``FLIP_LAB_URL``, else where ``flip-lab serve`` listens on this machine.
        token: Opens the API. Default: the URL's own, else ``FLIP_LAB_TOKEN``.
        timeout_s: How long a request may take, repetitions included, and how long the lab
            may be away, seconds.
        trust: For ``https``: a file with the certificates of authorities to trust, or an
            ``ssl.SSLContext``. Default: the machine's own.

    Returns:
        The lab, once it has answered.

    Raises:
        InvalidValueError: If it is no such address.
        LabUnreachableError: If nothing answers there, or no lab.
        NotAuthenticatedError: If it does not know the token.
        RemoteVersionError: If it speaks another version of the API.
        MissingExtraError: If a package that it needs is not installed.
    """
    try:
        from flip_lab.client.line import Line
        from flip_lab.client.remote_lab import RemoteLab
        from flip_lab.client.wire import Wire
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"A remote lab needs {error.name}, which is not installed.",
            fix='Install it with: pip install "flip-lab[client]"',
        ) from error
    line = Line(read_address(url, token), timeout_s=timeout_s, trust=trust)
    return RemoteLab(Wire(line))
