"""Detection of model weights that are stolen through the answers of an inference server.

    import weightwarden as ww

    policy, model = ww.read_policy("policy.toml"), ww.load_model("my-model")
    run = ww.verify(ww.read_traffic("traffic.jsonl"), policy, model)
    run.verdict, run.exposure.pooled, run.tokens_frame()

The public names load when they are used: the sidecar, which imports rooms of this package, never imports torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from weightwarden.errors import WeightwardenError

if TYPE_CHECKING:
    from weightwarden.api import calibrate as calibrate
    from weightwarden.api import load_model as load_model
    from weightwarden.api import read_archives as read_archives
    from weightwarden.api import read_policy as read_policy
    from weightwarden.api import read_traffic as read_traffic
    from weightwarden.api import verify as verify
    from weightwarden.logger.record import Record as Record
    from weightwarden.verifier.policy.base import BasePolicy as BasePolicy
    from weightwarden.verifier.replay.replay import Replayer as Replayer
    from weightwarden.verifier.verification.run import Run as Run
    from weightwarden.verifier.verification.run_input import RunInput as RunInput

__version__ = version("weightwarden")

_ROOMS = {
    "BasePolicy": "verifier.policy.base",
    "Record": "logger.record",
    "Replayer": "verifier.replay.replay",
    "Run": "verifier.verification.run",
    "RunInput": "verifier.verification.run_input",
    "calibrate": "api",
    "load_model": "api",
    "read_archives": "api",
    "read_policy": "api",
    "read_traffic": "api",
    "verify": "api",
}

__all__ = [
    "BasePolicy",
    "Record",
    "Replayer",
    "Run",
    "RunInput",
    "WeightwardenError",
    "__version__",
    "calibrate",
    "load_model",
    "read_archives",
    "read_policy",
    "read_traffic",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
