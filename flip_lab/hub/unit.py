"""How a machine keeps a hub running: a systemd unit."""

from __future__ import annotations

from flip_lab.hub.place import HubPlace
from flip_lab.node.service_unit import service_unit

_LOWEST_FREE_PORT = 1024


def unit_of_hub(
    place: HubPlace, *, program: str = "flip-lab", user: str = "flip-lab"
) -> str:
    """Write the systemd unit of a hub.

    Runs that were handed to the hub are processes of their own, and outlive it: systemd
    must end the hub's own process and no other (``KillMode=process``), or an update of the
    hub would end every run. For the same reason it has no ``PrivateTmp``: that directory
    goes with the service, while runs still keep files in it.

    Args:
        place: The hub.
        program: The command ``flip-lab``, with its path where systemd does not know it.
        user: Who runs it.

    Raises:
        HubStateError: If the directory is no hub.
    """
    settings = place.settings()
    more = ["KillMode=process", "TimeoutStopSec=60", "LimitNOFILE=65536"]
    if settings.port < _LOWEST_FREE_PORT:
        more.append("AmbientCapabilities=CAP_NET_BIND_SERVICE")
    return service_unit(
        f"FLIP Lab hub {settings.name}",
        [program, "hub", "up", str(place.path)],
        user=user,
        writable=place.path,
        more=more,
    )
