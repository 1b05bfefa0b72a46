"""Every error a user can meet: a stable code, what happened, and what to do next.

Codes: 1xx scenario and data, 2xx app, 3xx run, 4xx store, 5xx engine and federation,
6xx installation, 7xx API, 8xx real devices: a file for each. Each code has a page
``docs/errors/<code>.md``; a test fails without one.
"""

from flip_lab.core.errors.api import (
    ApiError as ApiError,
)
from flip_lab.core.errors.api import (
    CursorError as CursorError,
)
from flip_lab.core.errors.api import (
    IdempotencyError as IdempotencyError,
)
from flip_lab.core.errors.api import (
    LabUnreachableError as LabUnreachableError,
)
from flip_lab.core.errors.api import (
    NoSuchPlaceError as NoSuchPlaceError,
)
from flip_lab.core.errors.api import (
    NotAllowedError as NotAllowedError,
)
from flip_lab.core.errors.api import (
    NotAuthenticatedError as NotAuthenticatedError,
)
from flip_lab.core.errors.api import (
    RemoteVersionError as RemoteVersionError,
)
from flip_lab.core.errors.api import (
    RequestError as RequestError,
)
from flip_lab.core.errors.api import (
    StaleError as StaleError,
)
from flip_lab.core.errors.api import (
    TooLargeError as TooLargeError,
)
from flip_lab.core.errors.api import (
    TooManyError as TooManyError,
)
from flip_lab.core.errors.api import (
    TooSlowError as TooSlowError,
)
from flip_lab.core.errors.api import (
    UploadError as UploadError,
)
from flip_lab.core.errors.api import (
    UploadTypeError as UploadTypeError,
)
from flip_lab.core.errors.app import (
    AppError as AppError,
)
from flip_lab.core.errors.app import (
    AppImportError as AppImportError,
)
from flip_lab.core.errors.app import (
    AppPartMissingError as AppPartMissingError,
)
from flip_lab.core.errors.base import (
    FlipLabError as FlipLabError,
)
from flip_lab.core.errors.base import (
    nearest as nearest,
)
from flip_lab.core.errors.device import (
    AppNotAllowedError as AppNotAllowedError,
)
from flip_lab.core.errors.device import (
    ClockSkewError as ClockSkewError,
)
from flip_lab.core.errors.device import (
    CohortError as CohortError,
)
from flip_lab.core.errors.device import (
    DeliveryError as DeliveryError,
)
from flip_lab.core.errors.device import (
    DeviceError as DeviceError,
)
from flip_lab.core.errors.device import (
    EnrolmentError as EnrolmentError,
)
from flip_lab.core.errors.device import (
    HubBusyError as HubBusyError,
)
from flip_lab.core.errors.device import (
    HubStateError as HubStateError,
)
from flip_lab.core.errors.device import (
    NodeDataError as NodeDataError,
)
from flip_lab.core.errors.device import (
    NodeLimitError as NodeLimitError,
)
from flip_lab.core.errors.device import (
    NodeRevokedError as NodeRevokedError,
)
from flip_lab.core.errors.device import (
    PredictionError as PredictionError,
)
from flip_lab.core.errors.device import (
    PreflightError as PreflightError,
)
from flip_lab.core.errors.device import (
    QuorumError as QuorumError,
)
from flip_lab.core.errors.device import (
    ReplyRefusedError as ReplyRefusedError,
)
from flip_lab.core.errors.device import (
    TwinError as TwinError,
)
from flip_lab.core.errors.device import (
    VersionMismatchError as VersionMismatchError,
)
from flip_lab.core.errors.engine import (
    EngineError as EngineError,
)
from flip_lab.core.errors.engine import (
    EngineStartError as EngineStartError,
)
from flip_lab.core.errors.engine import (
    FederationUnreachableError as FederationUnreachableError,
)
from flip_lab.core.errors.engine import (
    NotEnoughNodesError as NotEnoughNodesError,
)
from flip_lab.core.errors.engine import (
    UnknownFederationError as UnknownFederationError,
)
from flip_lab.core.errors.engine import (
    UnsupportedInputError as UnsupportedInputError,
)
from flip_lab.core.errors.installation import (
    MissingExtraError as MissingExtraError,
)
from flip_lab.core.errors.run import (
    CallbackError as CallbackError,
)
from flip_lab.core.errors.run import (
    ClientsFailedError as ClientsFailedError,
)
from flip_lab.core.errors.run import (
    CommandRefusedError as CommandRefusedError,
)
from flip_lab.core.errors.run import (
    ConditionError as ConditionError,
)
from flip_lab.core.errors.run import (
    IllegalTransitionError as IllegalTransitionError,
)
from flip_lab.core.errors.run import (
    LogError as LogError,
)
from flip_lab.core.errors.run import (
    NoCheckpointError as NoCheckpointError,
)
from flip_lab.core.errors.run import (
    NoResultError as NoResultError,
)
from flip_lab.core.errors.run import (
    NothingToInspectError as NothingToInspectError,
)
from flip_lab.core.errors.run import (
    RunError as RunError,
)
from flip_lab.core.errors.run import (
    RunLostError as RunLostError,
)
from flip_lab.core.errors.run import (
    RunNotFoundError as RunNotFoundError,
)
from flip_lab.core.errors.run import (
    RunTimeoutError as RunTimeoutError,
)
from flip_lab.core.errors.run import (
    ServerAppError as ServerAppError,
)
from flip_lab.core.errors.run import (
    StrategyStateError as StrategyStateError,
)
from flip_lab.core.errors.scenario import (
    InvalidValueError as InvalidValueError,
)
from flip_lab.core.errors.scenario import (
    PartitionError as PartitionError,
)
from flip_lab.core.errors.scenario import (
    ScenarioError as ScenarioError,
)
from flip_lab.core.errors.scenario import (
    UnknownKeyError as UnknownKeyError,
)
from flip_lab.core.errors.scenario import (
    UnknownNameError as UnknownNameError,
)
from flip_lab.core.errors.store import (
    AnalysisError as AnalysisError,
)
from flip_lab.core.errors.store import (
    BackupError as BackupError,
)
from flip_lab.core.errors.store import (
    CorruptArtifactError as CorruptArtifactError,
)
from flip_lab.core.errors.store import (
    DamagedBackupError as DamagedBackupError,
)
from flip_lab.core.errors.store import (
    DamagedSourceError as DamagedSourceError,
)
from flip_lab.core.errors.store import (
    ExchangeError as ExchangeError,
)
from flip_lab.core.errors.store import (
    ExportExistsError as ExportExistsError,
)
from flip_lab.core.errors.store import (
    ForeignFormatError as ForeignFormatError,
)
from flip_lab.core.errors.store import (
    ModelError as ModelError,
)
from flip_lab.core.errors.store import (
    ModelNotFoundError as ModelNotFoundError,
)
from flip_lab.core.errors.store import (
    ModelStageError as ModelStageError,
)
from flip_lab.core.errors.store import (
    NewerSourceError as NewerSourceError,
)
from flip_lab.core.errors.store import (
    NothingToUndoError as NothingToUndoError,
)
from flip_lab.core.errors.store import (
    QueryError as QueryError,
)
from flip_lab.core.errors.store import (
    RestoreTargetError as RestoreTargetError,
)
from flip_lab.core.errors.store import (
    RunExistsError as RunExistsError,
)
from flip_lab.core.errors.store import (
    SecondWriterError as SecondWriterError,
)
from flip_lab.core.errors.store import (
    StoreBusyError as StoreBusyError,
)
from flip_lab.core.errors.store import (
    StoreError as StoreError,
)
from flip_lab.core.errors.store import (
    StoreFormatError as StoreFormatError,
)
from flip_lab.core.errors.store import (
    StoreNotWritableError as StoreNotWritableError,
)
from flip_lab.core.errors.store import (
    ViewError as ViewError,
)
