"""8xx: what hubs and nodes of real devices cannot do, or do not let others do."""

from __future__ import annotations

from flip_lab.core.errors.base import FlipLabError


class DeviceError(FlipLabError):
    """Something about a hub or a node of real devices."""

    code = "FLIP-800"


class EnrolmentError(DeviceError):
    """An enrolment token is wrong, was used before, or is too old."""

    code = "FLIP-801"


class NodeRevokedError(DeviceError):
    """The hub does not know this node's key, or no longer lets it in."""

    code = "FLIP-802"


class ClockSkewError(DeviceError):
    """The clocks of a node and its hub differ by more than signatures allow."""

    code = "FLIP-803"


class VersionMismatchError(DeviceError):
    """A node and its hub run versions that do not understand each other."""

    code = "FLIP-804"


class AppNotAllowedError(DeviceError):
    """The site does not let this app run on its data."""

    code = "FLIP-805"


class NodeDataError(DeviceError):
    """A node's data is not there, or is not what the app needs."""

    code = "FLIP-806"


class ReplyRefusedError(DeviceError):
    """A node's reply cannot be what it was asked for: shapes, numbers or size."""

    code = "FLIP-807"


class HubStateError(DeviceError):
    """A hub's or a node's directory is not set up, is damaged, or exists already."""

    code = "FLIP-808"


class HubBusyError(DeviceError):
    """Another process is the active hub of this directory."""

    code = "FLIP-809"


class QuorumError(DeviceError):
    """Fewer nodes replied in time than a round of this run needs."""

    code = "FLIP-810"


class CohortError(DeviceError):
    """A choice of nodes cannot be understood, or no node matches it."""

    code = "FLIP-811"


class PreflightError(DeviceError):
    """A node is not ready to take part; the report says why."""

    code = "FLIP-812"


class NodeLimitError(DeviceError):
    """A client used more time or memory than its site allows."""

    code = "FLIP-813"


class DeliveryError(DeviceError):
    """A model cannot be delivered, or is not the one that the hub signed."""

    code = "FLIP-814"


class PredictionError(DeviceError):
    """A prediction cannot be made: wrong input, or no model is there yet."""

    code = "FLIP-815"


class TwinError(DeviceError):
    """A run does not tell enough of its nodes to make a digital twin of them."""

    code = "FLIP-816"
