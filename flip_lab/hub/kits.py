"""A kit for a site: all that a device needs to become a node, but its key.

The private key is made on the device by ``flip-lab node enroll`` and never leaves it, so a
kit that got lost can be made worthless: withdraw its token, or revoke the node.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from flip_lab.core.clock import at_utc
from flip_lab.core.errors import HubStateError
from flip_lab.hub.answers import EnrolmentMade
from flip_lab.hub.names import checked_node
from flip_lab.node.config import SCENARIOS
from flip_lab.node.drafts import appearing, require_nothing
from flip_lab.node.units import compose_file, unit_of

TOKEN_FILE = "enrolment.token"  # noqa: S105  # a name
_PRIVATE = frozenset({TOKEN_FILE})


@dataclass(frozen=True, kw_only=True)
class Kit:
    """The files of a kit.

    Attributes:
        name: What the node will be called.
        files: Content by name.
    """

    name: str
    files: Mapping[str, bytes]

    def write_to(self, path: Path) -> Path:
        """Write the kit as a directory, or as an archive where the name ends in ``.zip``.

        Args:
            path: Nothing must be there yet.

        Returns:
            Where it is.

        Raises:
            HubStateError: If something is there, or it cannot be written.
        """
        target = path.expanduser().absolute()
        if target.suffix == ".zip":
            _write_archive(target, self.archive())
            return target
        with appearing(target) as draft:
            for name, content in self.files.items():
                file = draft / name
                file.touch(mode=0o600 if name in _PRIVATE else 0o644)
                file.write_bytes(content)
        return target

    def archive(self) -> bytes:
        """Give the kit as a ZIP archive; unpacked, the token is for its owner only."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                entry = zipfile.ZipInfo(f"{self.name}/{name}")
                mode = 0o100600 if name in _PRIVATE else 0o100644
                entry.external_attr = mode << 16
                archive.writestr(entry, content)
        return packed.getvalue()


def kit_of(enrolment: EnrolmentMade) -> Kit:
    """Put a kit together.

    Args:
        enrolment: A new enrolment: its token is shown by nothing else.

    Raises:
        InvalidValueError: If its name cannot be a node's; a hub elsewhere said it, and it
            becomes part of files and of what shells are given.
    """
    name = checked_node(enrolment.name)
    return Kit(
        name=name,
        files={
            "README.md": _readme(enrolment).encode(),
            "ca.crt": enrolment.authorities.encode("ascii"),
            "compose.yaml": compose_file(name).encode(),
            TOKEN_FILE: f"{enrolment.token}\n".encode("ascii"),
            f"flip-lab-node-{name}.service": unit_of(name).encode(),
            "hub.pub": enrolment.signing_key.encode("ascii"),
            "node.toml": _settings(enrolment).encode(),
        },
    )


def _settings(enrolment: EnrolmentMade) -> str:
    """Write what the site will look through, and change to its liking."""
    node = {"name": enrolment.name, "hub": enrolment.address, "allow": [SCENARIOS]}
    tables = {
        "node": {**node, "logs-tail-lines": 0, "workers": 1},
        "config": dict(enrolment.config),
    }
    return f"{_ABOVE}\n{tomli_w.dumps(tables)}{_BELOW}"


_ABOVE = """\
# What this site lets its node do. The site's word: nothing that a hub sends changes it.
"""

_BELOW = """
# The site's data; without it, apps bring their own.
# [data]
# kind = "csv"
# path = "/srv/data/patients.csv"
# label = "diagnosis"

# What one client call may use; needs workers of at least 1.
# [limits]
# call-timeout-s = 3600
# memory-mb = 4096
"""


def _write_archive(target: Path, content: bytes) -> None:
    require_nothing(target)
    draft = target.with_name(f".{target.name}.new")
    try:
        draft.touch(mode=0o600)
        draft.write_bytes(content)
        draft.rename(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise HubStateError(
            f"{target} cannot be written ({error.strerror or error}).",
            fix="Free some space, or choose a place that you may write.",
        ) from error


def _readme(enrolment: EnrolmentMade) -> str:
    ends = at_utc(enrolment.expires_at.timestamp())
    return f"""\
# Kit of the node `{enrolment.name}`

With this kit a device joins the federation of the hub at `{enrolment.address}`.

**The token in `{TOKEN_FILE}` is good once, until {ends:%Y-%m-%d %H:%M} UTC.** Whoever has
it can join in your place: hand the kit over as you would hand over a password.

| file | what it is |
|---|---|
| `node.toml` | what the site lets its node do: data, apps, limits; look it through |
| `{TOKEN_FILE}` | lets one device in, once |
| `ca.crt` | whom the node trusts: the hub, and nobody else |
| `hub.pub` | what the node checks delivered models with |
| `flip-lab-node-{enrolment.name}.service` | a systemd unit |
| `compose.yaml` | for Docker Compose, in place of the unit |

There is no key in it: the device makes its own, and never sends it.

## On the device

```bash
pip install "flip-lab[node,data]"
flip-lab node enroll --kit . --directory /var/lib/flip-lab/{enrolment.name}
flip-lab node preflight /var/lib/flip-lab/{enrolment.name}
```

Then either as a service of the machine:

```bash
useradd --system --home-dir /var/lib/flip-lab flip-lab
chown -R flip-lab: /var/lib/flip-lab
cp flip-lab-node-{enrolment.name}.service /etc/systemd/system/
systemctl enable --now flip-lab-node-{enrolment.name}
```

or in a container (`compose.yaml` enrols by itself at its first start):

```bash
docker compose up --detach
```

The device calls the hub; nothing needs to reach the device. Open port
{enrolment.address.rpartition(":")[2]} outwards to `{enrolment.address.rpartition(":")[0]}`,
and let the device's clock follow NTP.
"""
