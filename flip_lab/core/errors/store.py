"""4xx: what the store, analyses and exchange cannot do."""

from __future__ import annotations

from flip_lab.core.errors.base import FlipLabError


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
