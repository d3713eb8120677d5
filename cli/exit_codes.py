"""What the exit codes of `verify` mean."""

CLEAR = 0
ALARM = 1
ERROR = 2
INTERRUPTED = 130
