"""How a machine keeps a node running: a systemd unit, a Compose file."""

from __future__ import annotations

from pathlib import Path

from flip_lab.node.service_unit import service_unit

HOME = Path("/var/lib/flip-lab")
"""Where nodes live on a machine that runs them as a service."""

_DRAIN_S = 120


def unit_of(
    name: str, *, directory: Path | None = None, program: str = "flip-lab", user: str = ""
) -> str:
    """Write the systemd unit of a node.

    It starts after the network and the clock are there, comes back after any failure, is
    asked to drain before it ends, and may write nowhere but in its directory.

    Args:
        name: What the node is called.
        directory: Its directory; default: under ``/var/lib/flip-lab``.
        program: The command ``flip-lab``, with its path where systemd does not know it.
        user: Who runs it; default: ``flip-lab``.
    """
    home = directory or HOME / name
    return service_unit(
        f"FLIP Lab node {name}",
        [program, "node", "up", str(home)],
        user=user or "flip-lab",
        writable=home,
        more=[f"TimeoutStopSec={_DRAIN_S}", "PrivateTmp=yes"],
    )


def compose_file(name: str) -> str:
    """Write the Compose file of a node, which enrols it at its first start.

    The image is built from the Dockerfile of FLIP Lab, or is one of your own that has
    ``flip-lab[node]`` in it.

    Args:
        name: What the node is called.
    """
    home = HOME / name
    return f"""\
# docker compose up --detach: enrols at the first start, then runs the node.
services:
  node:
    image: ${{FLIP_LAB_IMAGE:-flip-lab-node:latest}}
    init: true
    restart: unless-stopped
    stop_grace_period: {_DRAIN_S}s
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    tmpfs: [/tmp]
    entrypoint: ["/bin/sh", "-ec"]
    command:
      - |
        [ -e {home}/node.key ] || \\
          flip-lab node enroll --kit /kit --directory {home}
        exec flip-lab node up {home}
    volumes:
      - .:/kit:ro
      - node:{HOME}
      # The site's data, as [data] in node.toml names it:
      # - /srv/data:/srv/data:ro
volumes:
  node:
"""
