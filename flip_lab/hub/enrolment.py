"""How a device becomes a node: a one-time token, shown once, redeemed once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from flip_lab.core.clock import at_utc
from flip_lab.core.errors import InvalidValueError
from flip_lab.hub.answers import EnrolmentMade, EnrolmentRow, Enrolments
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_enrolments import Device, EnrolmentRecord
from flip_lab.hub.names import checked_node, checked_tags
from flip_lab.hub.place import HubPlace, read_file
from flip_lab.hub.rotation import signing_authority
from flip_lab.hub.tokens import ends_at
from flip_lab.hub.wishes import EnrolmentWish
from flip_lab.node.config import NodeScalar
from flip_lab.node.enrol_token import EnrolToken
from flip_lab.node.messages import EnrolAnswer, EnrolAsk
from flip_lab.node.signing import fingerprint_of as key_fingerprint
from flip_lab.node.signing import load_public_key, pem_of
from flip_lab.node.trust import DIGITS, fingerprint_of
from flip_lab.node.versions import see_that_versions_agree, versions_here

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_LONGEST_TEXT = 1000


def make_enrolment(
    place: HubPlace, database: HubDatabase, wish: EnrolmentWish
) -> EnrolmentMade:
    """Make a one-time token for a device, with all that its kit is made of.

    Args:
        place: The hub.
        database: Its database.
        wish: What the node will be.

    Raises:
        InvalidValueError: If a name, tag, setting or time cannot be one.
        EnrolmentError: If a node or another open token has the name.
    """
    record, secret = database.enrolments.create(
        checked_node(wish.name),
        tags=checked_tags(wish.tags),
        config=_checked_config(wish.config),
        expires_s=ends_at(wish.lifetime_s),
        replace=wish.replace,
    )
    authority = fingerprint_of(signing_authority(place).certificate)[:DIGITS]
    token = EnrolToken(id=secret.id, secret=secret.text, authority=authority)
    return EnrolmentMade(
        **_enrolment_row(record).model_dump(),
        token=token.text,
        address=place.settings().address,
        authorities=read_file(place.authorities).decode("ascii"),
        signing_key=read_file(place.signing_public).decode("ascii"),
    )


def list_enrolments(database: HubDatabase) -> Enrolments:
    """List every enrolment; never the tokens themselves."""
    return Enrolments(items=[_enrolment_row(each) for each in database.enrolments.list()])


def withdraw_enrolment(database: HubDatabase, enrolment_id: str) -> EnrolmentRow:
    """Let no device enrol with a token any more.

    Raises:
        NoSuchPlaceError: If no open enrolment has that id.
    """
    return _enrolment_row(database.enrolments.withdraw(enrolment_id))


def enrol(place: HubPlace, database: HubDatabase, asked: EnrolAsk) -> EnrolAnswer:
    """Let a device in that shows a token.

    Args:
        place: The hub.
        database: Its database.
        asked: What the device sent.

    Raises:
        EnrolmentError: If the token or the key is none, or may not be used.
        VersionMismatchError: If the device's Flower does not understand the hub's.
        HubStateError: If the hub's directory is damaged; the token stays good.
    """
    from flip_lab.engines.flower.superlink_state import node_id_of

    token = EnrolToken.read(asked.token)
    key = load_public_key(asked.public_key)
    see_that_versions_agree(asked.flower, versions_here().flower)
    pem = pem_of(key)  # not as it was sent: the same key could be written in other ways
    device = Device(
        public_key=pem,
        fingerprint=key_fingerprint(key),
        node_id=node_id_of(pem.encode("ascii")),
    )
    # All that can fail comes before the token is spent.
    authorities, signing_key = map(read_file, (place.authorities, place.signing_public))
    name = place.settings().name
    found = database.enrolments.redeem(token.id, token.secret, device)
    return EnrolAnswer(
        name=found.name,
        node_id=str(device.node_id),
        config=dict(found.config),
        tags=list(found.tags),
        authorities=authorities.decode("ascii"),
        signing_key=signing_key.decode("ascii"),
        hub=name,
    )


def _checked_config(config: Mapping[str, NodeScalar]) -> dict[str, NodeScalar]:
    """Give a node configuration, if Flower can take it.

    Raises:
        InvalidValueError: If it cannot.
    """
    for key, value in config.items():
        if not _KEY.fullmatch(key) or not _is_single(value):
            raise InvalidValueError(
                f"{key!r:.80} = {value!r:.80} cannot be in a node configuration.",
                fix="Use names such as partition-id, and numbers, truths and short texts.",
            )
    number = config.get("partition-id", 0)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise InvalidValueError(
            f"partition-id is {number!r:.80}.", fix="Count partitions from 0."
        )
    return dict(config)


def _is_single(value: NodeScalar) -> bool:
    """Say whether Flower's messages have a form for a value."""
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return -(2**63) <= value < 2**63


def _enrolment_row(record: EnrolmentRecord) -> EnrolmentRow:
    return EnrolmentRow(
        id=record.id,
        name=record.name,
        tags=list(record.tags),
        config=dict(record.config),
        state=record.state,
        created_at=at_utc(record.created_s),
        created_by=record.created_by,
        expires_at=at_utc(record.expires_s),
        used_at=None if record.used_s is None else at_utc(record.used_s),
    )
