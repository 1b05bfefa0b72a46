"""Every error a user can meet: a stable code, what happened, and what to do next.

Codes: 1xx scenario and data, 2xx app, 3xx run, 4xx store, 5xx engine and federation,
6xx installation, 7xx API. Each code has a page ``docs/errors/<code>.md``; a test fails
without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class FlipLabError(Exception):
    """Base of all errors raised on purpose by FLIP Lab.

    Args:
        what: What happened, with the offending value.
        fix: One sentence that tells the user what to do next.
        detail: Longer evidence, such as the tail of a client's traceback; may be empty.
    """

    code: ClassVar[str] = "FLIP-000"

    def __init__(self, what: str, *, fix: str, detail: str = "") -> None:
        """Keep the parts so that a widget, the API and a log can show them apart."""
        text = f"[{self.code}] {what} Fix: {fix}"
        super().__init__(f"{text}\n{detail}" if detail else text)
        self.what = what
        self.fix = fix
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes whole (keyword arguments defeat the default)."""
        parts = {"what": self.what, "fix": self.fix, "detail": self.detail}
        return _rebuild, (type(self), parts)


def _rebuild(cls: type[FlipLabError], parts: dict[str, str]) -> FlipLabError:
    return cls(**parts)


def nearest(name: str, valid: Iterable[str]) -> str:
    """Say which valid name the user probably meant, and list all of them.

    Args:
        name: What the user wrote.
        valid: Every name that would have worked; may be empty.

    Returns:
        A sentence without code, such as ``Did you mean 'iid'? Valid: dirichlet, iid.``
    """
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Valid: {', '.join(names) if names else 'none'}."


class ScenarioError(FlipLabError):
    """A scenario cannot be run as written."""

    code = "FLIP-100"


class UnknownNameError(ScenarioError):
    """A scenario, data set, partitioner, model or strategy of this name does not exist."""

    code = "FLIP-101"


class UnknownKeyError(ScenarioError):
    """A scenario or configuration holds a key that means nothing."""

    code = "FLIP-102"


class InvalidValueError(ScenarioError):
    """A value has the wrong type or lies outside its range."""

    code = "FLIP-103"


class PartitionError(ScenarioError):
    """The data cannot be split over the nodes as the scenario asks."""

    code = "FLIP-110"


class AppError(FlipLabError):
    """A Flower App cannot be loaded."""

    code = "FLIP-200"


class AppPartMissingError(AppError):
    """A Flower App directory lacks a part that Flower requires."""

    code = "FLIP-201"


class AppImportError(AppError):
    """The module of a ServerApp or ClientApp raises while it is imported."""

    code = "FLIP-202"


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


class StoreError(FlipLabError):
    """The store cannot do what was asked."""

    code = "FLIP-400"


class StoreNotWritableError(StoreError):
    """The lab's directory cannot be created or written."""

    code = "FLIP-401"


class SecondWriterError(StoreError):
    """A run's journal already has a living writer."""

    code = "FLIP-402"


class QueryError(StoreError):
    """A SQL query is wrong, or asks for more than reading the store."""

    code = "FLIP-403"


class StoreFormatError(StoreError):
    """The store was written by a newer version of FLIP Lab."""

    code = "FLIP-404"


class CorruptArtifactError(StoreError):
    """A kept file no longer matches its hash, or is missing."""

    code = "FLIP-405"


class StoreBusyError(StoreError):
    """Another process rearranges the store."""

    code = "FLIP-406"


class ViewError(StoreError):
    """A view cannot draw the frame it was given."""

    code = "FLIP-410"


class AnalysisError(StoreError):
    """A comparison or a statistic was asked of something that does not allow it."""

    code = "FLIP-420"


class ExchangeError(StoreError):
    """Runs cannot be exported to, or imported from, another tool's format."""

    code = "FLIP-430"


class ForeignFormatError(ExchangeError):
    """There is no such format, or the path holds nothing of that format."""

    code = "FLIP-431"


class DamagedSourceError(ExchangeError):
    """What is to be imported is cut short, or does not match its hashes."""

    code = "FLIP-432"


class NewerSourceError(ExchangeError):
    """What is to be imported was written by a newer version than can be read."""

    code = "FLIP-433"


class RunExistsError(ExchangeError):
    """The lab keeps another run under the id of the one to be imported."""

    code = "FLIP-434"


class ExportExistsError(ExchangeError):
    """Where the export shall go there is something already."""

    code = "FLIP-435"


class NothingToUndoError(StoreError):
    """This author has done nothing in the lab that could be taken back."""

    code = "FLIP-407"


class BackupError(StoreError):
    """A backup cannot be taken, found or restored."""

    code = "FLIP-440"


class DamagedBackupError(BackupError):
    """A file of a backup is gone, or no longer matches its hash."""

    code = "FLIP-441"


class RestoreTargetError(BackupError):
    """A lab can only be restored to where nothing is yet."""

    code = "FLIP-442"


class ModelError(StoreError):
    """Something about the model registry."""

    code = "FLIP-450"


class ModelNotFoundError(ModelError):
    """The registry keeps no model of this name, or not this version of it."""

    code = "FLIP-451"


class ModelStageError(ModelError):
    """A version cannot be moved to this stage."""

    code = "FLIP-452"


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


class MissingExtraError(FlipLabError):
    """A part of FLIP Lab that was not installed is needed."""

    code = "FLIP-600"


class ApiError(FlipLabError):
    """A request to the API cannot be answered."""

    code = "FLIP-700"


class NotAuthenticatedError(ApiError):
    """Nobody knows who asks."""

    code = "FLIP-701"


class NotAllowedError(ApiError):
    """Whoever asks may not do this."""

    code = "FLIP-702"


class RequestError(ApiError):
    """A request is not as the API expects it."""

    code = "FLIP-703"


class CursorError(ApiError):
    """A cursor was not made by this API, or for another question."""

    code = "FLIP-704"


class StaleError(ApiError):
    """Somebody changed it since it was read."""

    code = "FLIP-705"


class IdempotencyError(ApiError):
    """An idempotency key was used before, for another request."""

    code = "FLIP-706"


class TooLargeError(ApiError):
    """A body is larger than this API takes."""

    code = "FLIP-707"


class TooSlowError(ApiError):
    """A body came too slowly, or never to its end."""

    code = "FLIP-708"


class NoSuchPlaceError(ApiError):
    """The API has nothing at this path."""

    code = "FLIP-709"


class UploadError(ApiError):
    """An upload does not go on where it stopped, or does not match its hash."""

    code = "FLIP-710"


class UploadTypeError(ApiError):
    """A file of this kind is not taken, or is not what it says it is."""

    code = "FLIP-711"


class TooManyError(ApiError):
    """Too many requests, messages or subscribers at once."""

    code = "FLIP-712"


class LabUnreachableError(ApiError):
    """The API of a remote lab does not answer."""

    code = "FLIP-720"


class RemoteVersionError(ApiError):
    """The API of a remote lab speaks another version."""

    code = "FLIP-721"
