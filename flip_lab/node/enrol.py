"""How a device becomes a node: ``flip-lab node enroll``.

The key is made here. Whom to trust comes from the token, so nothing is believed that the
network says before that. The directory appears when all is done, or not at all.
"""

from __future__ import annotations

import ssl
from dataclasses import asdict, replace
from pathlib import Path
from time import sleep

from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    ClockSkewError,
    FederationUnreachableError,
)
from flip_lab.node.config import FILE_NAME, NodeConfig, load_node, write_node
from flip_lab.node.drafts import appearing
from flip_lab.node.enrol_token import EnrolToken
from flip_lab.node.hub_line import HubLine
from flip_lab.node.identity import NodeIdentity, new_identity, write_identity
from flip_lab.node.messages import EnrolAnswer, EnrolAsk, Health
from flip_lab.node.signing import WINDOW_S
from flip_lab.node.trust import AUTHORITY_FILE, authority_in, context_for
from flip_lab.node.versions import see_that_versions_agree, versions_here

_TRIES = 3
_PAUSE_S = 1.0


def enrol_node(
    token: str, *, hub: str, directory: Path, kit: Path | None = None
) -> NodeConfig:
    """Make this device a node of a hub.

    Args:
        token: The one-time token that the hub's admin made.
        hub: ``host:port``.
        directory: Where the node shall live: nothing yet, or an empty directory.
        kit: A kit's directory, with the site's settings.

    Returns:
        The node's settings, as they were written.

    Raises:
        EnrolmentError: If the token is none, is used or expired, or another hub's.
        VersionMismatchError: If Flower here does not understand the hub's.
        ClockSkewError: If this device's clock is wrong.
        FederationUnreachableError: If the hub does not answer.
        HubStateError: If something is in the directory, or it cannot be written.
        InvalidValueError: If the kit's settings are wrong.
    """
    shown = EnrolToken.read(token)
    site = None if kit is None else load_node(kit)
    with appearing(directory) as draft:
        identity = new_identity()
        write_identity(draft, identity)
        (draft / "contexts").mkdir(mode=0o700)
        (draft / "models").mkdir(mode=0o700)
        authority = authority_in(_shown_authorities(hub), shown.authority)
        (draft / AUTHORITY_FILE).write_bytes(authority)
        with HubLine(hub, context_for(draft / AUTHORITY_FILE)) as line:
            _see_that_it_fits(line)
            answer = _enrolled(line, shown, identity)
        (draft / AUTHORITY_FILE).write_text(answer.authorities, "ascii")
        (draft / "hub.pub").write_text(answer.signing_key, "ascii")
        _write_settings(draft, answer, hub, site)
    return load_node(directory)


def _shown_authorities(hub: str) -> bytes:
    """Ask whoever is there for its authorities; the token says which of them is right."""
    nobody = ssl.create_default_context()
    nobody.check_hostname = False
    nobody.verify_mode = ssl.CERT_NONE  # only the token's fingerprint decides
    with HubLine(hub, nobody) as line:
        return line.content("GET", "/flip/v1/device/ca")


def _see_that_it_fits(line: HubLine) -> None:
    """See that versions and clocks agree before the token is spent."""
    health = line.ask("GET", "/health", Health)
    see_that_versions_agree(versions_here().flower, health.flower)
    ahead_s = now_s() - health.time_s
    if abs(ahead_s) > WINDOW_S:
        raise ClockSkewError(
            f"This device's clock is {abs(ahead_s):.0f} s "
            f"{'ahead of' if ahead_s > 0 else 'behind'} the hub's.",
            fix="Set the clock that is wrong, best by NTP, and enrol again: the token is "
            "still good.",
        )


def _enrolled(line: HubLine, token: EnrolToken, identity: NodeIdentity) -> EnrolAnswer:
    """Spend the token; if the answer gets lost the same key may ask for it again."""
    asked = EnrolAsk(
        token=token.text, public_key=identity.public_key, **asdict(versions_here())
    )
    tries_left = _TRIES
    while True:
        try:
            return line.ask("POST", "/flip/v1/device/enroll", EnrolAnswer, asked)
        except FederationUnreachableError:
            tries_left -= 1
            if not tries_left:
                raise
            sleep(_PAUSE_S)


def _write_settings(
    draft: Path, answer: EnrolAnswer, hub: str, site: NodeConfig | None
) -> None:
    """Write ``node.toml``: what a kit says, or a plain one; names are the hub's."""
    # Limits hold in workers alone, so a site begins with one.
    given = site or NodeConfig(name=answer.name, hub=hub, directory=draft, workers=1)
    told = replace(given, name=answer.name, hub=hub, config=answer.config)
    if site is not None and told == site:
        # Word for word: its comments are the site's guide.
        (draft / FILE_NAME).write_bytes((site.directory / FILE_NAME).read_bytes())
    else:
        write_node(draft, told)
