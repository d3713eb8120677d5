"""Exit codes of `verify`."""

CLEAR = 0
ALARM = 1
ERROR = 2
INTERRUPTED = 130
