"""How a machine keeps a node running: a systemd unit, a Compose file."""

from __future__ import annotations

import shlex
from pathlib import Path

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
    command = f"{shlex.quote(program)} node up {shlex.quote(str(home))}"
    return f"""\
[Unit]
Description=FLIP Lab node {name}
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={user or "flip-lab"}
ExecStart={command}
Restart=always
RestartSec=5
KillSignal=SIGTERM
TimeoutStopSec={_DRAIN_S}
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={home}
UMask=0077

[Install]
WantedBy=multi-user.target
"""


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
