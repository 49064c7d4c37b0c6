"""Errors a user can act on: what went wrong, where, and what to do, in one line.

Every class is also a standard-library exception, so callers that know nothing of ICDTune can catch it.
An entry turns one of these into a single line on stderr and exit status 2; any other exception is a bug.
"""


class ICDTuneError(Exception):
    """Base of every error that is the input's fault and not the program's."""


class ConfigError(ICDTuneError, ValueError):
    """A configuration file or a command-line override is wrong."""


class CodeFileError(ICDTuneError, ValueError):
    """A code file of CMS or NCHS cannot be read."""


class UnknownCodeError(ICDTuneError, KeyError):
    """A code is not in the loaded release."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DataError(ICDTuneError, ValueError):
    """A data set, predictions or scores file is missing, broken or of another schema."""


class CheckpointError(ICDTuneError, ValueError):
    """A checkpoint folder is missing or incomplete."""


class EngineError(ICDTuneError, RuntimeError):
    """A generation engine or server cannot start or stopped answering."""
