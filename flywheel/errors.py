"""The errors a user may meet: one line each, saying what to do.

FlywheelError                 exit code 1
├── UsageError                exit code 2: the call itself is wrong
├── WorkspaceMissing          exit code 2
├── WorkspaceTooNew           written by a newer program
├── WorkspaceTooOld           `flywheel migrate` has not been run
├── AnotherDriver             a second driver of the same step
├── DiskReserve               disk below the reserve, run paused
├── ConservationError         a run whose counts do not add up
├── QueryRefused              SQL that is not one contained SELECT
├── QueryFailed               SQL that DuckDB could not answer
├── SourceError               a source that cannot be listed at all
├── PolicyError               a policy file that does not hold together
├── ContentChanged            bytes that no longer match their sha256
└── ServerDown                a model server that nobody answers at
"""


class FlywheelError(Exception):
    """Base of every error that is the user's to read, not a bug."""

    exit_code = 1


class UsageError(FlywheelError):
    exit_code = 2


class WorkspaceMissing(FlywheelError):
    exit_code = 2


class WorkspaceTooNew(FlywheelError):
    pass


class WorkspaceTooOld(FlywheelError):
    pass


class AnotherDriver(FlywheelError):
    pass


class DiskReserve(FlywheelError):
    pass


class ConservationError(FlywheelError):
    pass


class QueryRefused(FlywheelError):
    exit_code = 2


class QueryFailed(FlywheelError):
    pass


class SourceError(FlywheelError):
    pass


class PolicyError(FlywheelError):
    pass


class ContentChanged(FlywheelError):
    pass


class ServerDown(FlywheelError):
    pass
