"""Gate of grammars: each is compiled here before the inference server gets it."""

from functools import partial
from pathlib import Path

from weightwarden.logger.grammar.backend import GrammarBackend
from weightwarden.logger.grammar.errors import GrammarRefused, GrammarsClosed, GrammarsWaiting
from weightwarden.logger.grammar.process import GrammarProcess
from weightwarden.logger.record import Grammar
from weightwarden.logger.sidecar.errors import busy, invalid, stopping
from weightwarden.logger.sidecar.prepare_pool import PreparePool

THREADS = 32
"""Number of grammars that are checked or wait for it."""


class GrammarGate:
    """Gate for the grammars of requests. Grammars that were checked before pass at once."""

    def __init__(self, backend: GrammarBackend | None = None, process: GrammarProcess | None = None) -> None:
        """The gate before a server. Without a backend and a process it refuses every grammar.

        Args:
            backend: the server's grammar backend.
            process: the process that compiles grammars.
        """
        self._backend, self._process = backend, process
        self._threads = PreparePool(THREADS, THREADS, "grammars")

    @classmethod
    def open(cls, backend: GrammarBackend | None, folder: Path, vocabulary: int) -> "GrammarGate":
        """The gate before a server that serves a model, with its process running.

        Args:
            backend: the server's grammar backend, or None: every grammar is refused.
            folder: the model folder.
            vocabulary: width of the model's logits, tokens.

        Raises:
            ModelError: the tokenizer cannot be used.
            MissingExtra: llguidance is not installed.
        """
        if backend is None:
            return cls()
        process = GrammarProcess(folder, vocabulary, extra="server")
        try:
            process.start()
        except BaseException:
            process.close()
            raise
        return cls(backend, process)

    async def check(self, kind: str, text: str, field: str) -> Grammar:
        """A request's grammar, for its record.

        Args:
            kind: kind of the grammar (`Grammar`).
            text: its text, which the server is sent.
            field: the request's field from which it comes.

        Raises:
            ApiError: the grammar cannot be used (400), too many others wait (429), or the sidecar stops (503).
        """
        if self._backend is None or self._process is None:
            raise invalid(
                "structured output, and tools that are forced or strict, are not served here: the sidecar has no"
                " --grammar-backend",
                field,
            )
        try:
            if not self._process.is_checked(kind, text):
                await self._threads.run(partial(self._process.check, kind, text))
        except GrammarRefused as error:
            raise invalid(str(error), field) from None
        except GrammarsWaiting:
            raise busy() from None
        except GrammarsClosed:
            raise stopping() from None
        return self._backend.grammar(kind, text)

    def close(self) -> None:
        """End the process. Checks that wait are dropped."""
        self._threads.close()
        if self._process is not None:
            self._process.close()
