"""A log in operation: its sidecar runs again and again, and auditors check its archives."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import time
from typing import Any

from tests.cli.commands.test_run import invoke
from tests.logger.sidecar.running import Sidecar, running, settings_in
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.tlog.keys import SigningKey

_prompts = count()


@dataclass
class OperatedLog:
    """A log whose files lie in a folder.

    Attributes:
        folder: keys, database, and what auditors keep.
        model_folder: the model.
        upstream: URL of the inference server.
        options: settings of its sidecar, besides the defaults of `settings_in`.
    """

    folder: Path
    model_folder: Path
    upstream: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def archives(self) -> Path:
        return self.folder / "archives"

    def settings(self, **more: Any) -> Settings:
        """The settings of its sidecar; keys are made when new."""
        options = {"archives": str(self.archives), **self.options, **more}
        return settings_in(self.folder, self.model_folder, self.upstream, **options)

    @contextmanager
    def sidecar(self, clock: Callable[[], float] = time, **more: Any) -> Iterator[Sidecar]:
        """Its sidecar, which seals the records when it stops."""
        with running(self.settings(**more), clock) as sidecar:
            yield sidecar

    def run(self, answers: int = 2, **more: Any) -> list[dict[str, Any]]:
        """A run of its sidecar with so many answers, and what it reported as trouble."""
        with self.sidecar(**more) as sidecar:
            for _ in range(answers):
                assert sidecar.complete([7, next(_prompts) % 1000], max_tokens=2).status_code == 200
            sidecar.await_closed_seeds()
        return sidecar.events("sealing failed")

    def new_key(self, name: str, origin: str) -> Path:
        """A new signing key, with its public key beside it."""
        key = SigningKey.generate(origin)
        key.write(self.folder / name)
        return self.folder / name

    def public(self, name: str, *keys: Path) -> Path:
        """A file with the public keys of signing keys."""
        path = self.folder / name
        path.write_text("".join(f"{SigningKey.read(key).verifier}\n" for key in keys))
        return path


def findings(archives: Sequence[Path], public: Path, seen: Path | None = None) -> list[str]:
    """The kinds of findings of `verify log check`, none if all checks passed."""
    options: list[str | Path] = [] if seen is None else ["--seen", seen]
    result = invoke("log", "check", *archives, "--public-key", public, *options, "--json")
    assert result.exit_code in (0, 1), result.output
    kinds = [finding["kind"] for finding in json.loads(result.output)["findings"]]
    assert result.exit_code == bool(kinds)
    return kinds
