"""5xx: what engines and federations cannot do."""

from __future__ import annotations

from flip_lab.core.errors.base import FlipLabError


class EngineError(FlipLabError):
    """An engine or a federation cannot do its work."""

    code = "FLIP-500"


class EngineStartError(EngineError):
    """An engine did not start."""

    code = "FLIP-501"


class UnknownFederationError(EngineError):
    """``on=`` names no engine and no configured federation."""

    code = "FLIP-502"


class FederationUnreachableError(EngineError):
    """The federation's SuperLink does not answer, or refuses us."""

    code = "FLIP-503"


class NotEnoughNodesError(EngineError):
    """The federation has fewer nodes than the run needs."""

    code = "FLIP-504"


class UnsupportedInputError(EngineError):
    """This engine cannot run this kind of app."""

    code = "FLIP-505"
