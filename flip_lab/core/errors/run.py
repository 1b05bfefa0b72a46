"""3xx: what can go wrong with a run."""

from __future__ import annotations

from flip_lab.core.errors.base import FlipLabError


class RunError(FlipLabError):
    """Something about one run."""

    code = "FLIP-300"


class RunNotFoundError(RunError):
    """No run of this id is kept in the lab."""

    code = "FLIP-301"


class IllegalTransitionError(RunError):
    """A run was asked to take a step that its state does not allow."""

    code = "FLIP-302"


class ClientsFailedError(RunError):
    """Every client of a training phase failed, so the model could not change."""

    code = "FLIP-303"


class ServerAppError(RunError):
    """The ServerApp raised an exception."""

    code = "FLIP-304"


class RunLostError(RunError):
    """The run process is gone without having said how the run ended."""

    code = "FLIP-305"


class NoResultError(RunError):
    """The run kept no such result: it ended too early, or its app never gives one."""

    code = "FLIP-306"


class RunTimeoutError(RunError):
    """The run did not end within the time that the caller was willing to wait."""

    code = "FLIP-307"


class NoCheckpointError(RunError):
    """The run keeps no checkpoint to go on from, or none of the round asked for."""

    code = "FLIP-308"


class StrategyStateError(RunError):
    """A strategy's state cannot be kept, or does not belong to the strategy at hand."""

    code = "FLIP-309"


class CommandRefusedError(RunError):
    """A running run cannot do what it was asked to."""

    code = "FLIP-310"


class ConditionError(RunError):
    """A condition to stop or to break on cannot be understood."""

    code = "FLIP-311"


class NothingToInspectError(RunError):
    """No round's replies are kept to look at."""

    code = "FLIP-312"


class LogError(RunError):
    """Something cannot be logged as a fact of a run."""

    code = "FLIP-313"


class CallbackError(RunError):
    """A callback raised; it is a warning, since the run goes on without it."""

    code = "FLIP-314"
