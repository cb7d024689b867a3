"""The error tree. Every failure a person can meet is one of these, with a hint what to do next.

RegkgError
  SettingsError                                 an environment variable or option is wrong
  ParameterError                                a parameter of a question or request is wrong (all of them at once)
    QueryRefused                                a query that would do more than read
  InputError                                    a file is wrong; nothing was written
    MissingInput  ChecksumMismatch  MalformedRow  AssemblyMismatch  CoverageTooLow  TooManyRejected
  SchemaError                                   rows do not fit the declared type (all discrepancies at once)
  NotFound
    UnknownGene  UnknownPeak  UnknownRelease  UnknownRun  UnknownQuestion  UnknownDataset  UnknownBiosample
  Conflict
    WriteConflict  DraftHeld  LoadIncomplete  DatasetStale  SchemaVersionMismatch
  StoreError
    StoreUnavailable (worth retrying)  StoreRefused  ServerFailed
  TrainingError
    Diverged  CheckpointRefused

`kg` knows neither exit codes nor HTTP statuses; those two tables live in `cli` and `api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class RegkgError(Exception):
    """A failure with a message (what, where, expected, got) and a hint (what to do next)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(RegkgError):
    """An environment variable or an option does not make sense."""


class ParameterError(RegkgError):
    """A parameter of a question or a request does not make sense."""

    def __init__(self, message: str, discrepancies: Sequence[str] = (), hint: str = "") -> None:
        super().__init__("; ".join([message, *discrepancies]), hint)
        self.discrepancies = tuple(discrepancies)


class QueryRefused(ParameterError):
    """A query would do more than read."""


class InputError(RegkgError):
    """A file that people gave is refused; nothing was written."""


class MissingInput(InputError):
    """A file or a needed dataset is not there."""


class ChecksumMismatch(InputError):
    """The bytes are not those that were recorded."""


class MalformedRow(InputError):
    """One row breaks a rule: file, line, column, rule."""

    def __init__(self, file: str, line: int, column: str, rule: str, hint: str = "") -> None:
        super().__init__(f"{file}:{line} column '{column}': {rule}", hint)
        self.file, self.line, self.column, self.rule = file, line, column, rule


class AssemblyMismatch(InputError):
    """Coordinates belong to another genome assembly."""


class CoverageTooLow(InputError):
    """Too few features of a file are known to the graph."""


class TooManyRejected(InputError):
    """So many rows were rejected that a reload would close good rows."""


class SchemaError(RegkgError):
    """Rows do not fit their declared type; carries every discrepancy."""

    def __init__(self, message: str, discrepancies: Sequence[str] = (), hint: str = "") -> None:
        super().__init__("; ".join([message, *discrepancies]), hint)
        self.discrepancies = tuple(discrepancies)


class NotFound(RegkgError):
    """Something named by the caller does not exist."""


class UnknownGene(NotFound):
    """No gene has this id or symbol."""


class UnknownPeak(NotFound):
    """No peak has this id."""


class UnknownRelease(NotFound):
    """No release has this number."""


class UnknownRun(NotFound):
    """No run has this id, or it is not complete."""


class UnknownQuestion(NotFound):
    """No question has this name."""


class UnknownDataset(NotFound):
    """No dataset has this id."""


class UnknownBiosample(NotFound):
    """No biosample has this id or name."""


class Conflict(RegkgError):
    """The request collides with the state of the graph."""


class WriteConflict(Conflict):
    """Two writers met, or the same row was asserted twice."""


class DraftHeld(Conflict):
    """Another writer holds the lease of the draft."""


class LoadIncomplete(Conflict):
    """A load was interrupted; resume or discard it first."""


class DatasetStale(Conflict):
    """A derived dataset rests on rows that have changed."""


class SchemaVersionMismatch(Conflict):
    """The graph was made by another schema version of this program."""


class StoreError(RegkgError):
    """The database did not do what was asked."""


class StoreUnavailable(StoreError):
    """The database cannot be reached just now; the same call may work later."""


class StoreRefused(StoreError):
    """The database answered no."""


class ServerFailed(StoreError):
    """The managed server did not start, or died."""


class TrainingError(RegkgError):
    """Training cannot start or go on."""


class Diverged(TrainingError):
    """A loss is not finite."""

    def __init__(self, step: int, cells: Sequence[str], hint: str = "") -> None:
        named = ", ".join(cells[:5]) or "none singled out"
        super().__init__(f"the loss is not finite at step {step}; cells of that batch: {named}", hint)
        self.step, self.cells = step, tuple(cells)


class CheckpointRefused(TrainingError):
    """A checkpoint is damaged or belongs to another model or configuration."""
