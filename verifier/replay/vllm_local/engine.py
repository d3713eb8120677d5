"""vLLM's engine in this process: hidden states of sequences by prefill, and the model's own output head."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch

from weightwarden.logger.errors import ModelError
from weightwarden.text import first_line
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.replay.vllm_local.hidden_states import HiddenStates, StatesPart

RELEASES = ("0.32",)
"""Releases of vLLM in whose model runner `HiddenStates` is known to find the states."""
MAX_SEQUENCES = 64
"""Largest number of sequences in one step."""
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_USE_V2_MODEL_RUNNER": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
"""Variables that vLLM reads; the operator's own logging level stays."""
_CPU_CACHE_BYTES = 2 * 2**30
"""Bytes of the cache of keys and values on a CPU, unless the operator sets VLLM_CPU_KVCACHE_SPACE."""
_GPU_SHARE = 0.8
"""Share of a GPU's memory for the engine. The rest is for blocks of logits and their reduction."""
_PROBES = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (9, 8, 7, 6, 5))
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25, "float16": 0.05}
"""Largest difference, logits, between the head on these states and vLLM's own prompt logits."""


class PrefillEngine:
    """A vLLM engine without server, scheduler process or JSON, used for prefill alone.

    Every sequence is a request for one greedy token, which is dropped. Prefixes are not cached: the states of cached
    positions would not be computed.

    Attributes:
        version: vLLM's version.
        device: torch's name of the device.
        vocabulary: width of the head's logits.
        context_length: longest sequence, tokens.
    """

    def __init__(self, engine: Any, version: str) -> None:
        self._engine, self.version = engine, version
        runner = engine.model_executor.driver_worker.worker.model_runner
        self._model = runner.model
        self._states = HiddenStates()
        self._states.attach(runner)
        self._device = torch.device(runner.device)
        self.context_length = int(engine.model_config.max_model_len)
        self._made = 0

    @classmethod
    def load(
        cls, identity: ModelIdentity, *, dtype: str, token_budget: int, max_model_len: int | None = None
    ) -> "PrefillEngine":
        """Start the engine on a model folder, and compare its states with vLLM's own prompt logits.

        Args:
            token_budget: tokens of one step.
            max_model_len: context length, tokens; None: the model's.

        Raises:
            ModelError: vLLM is of another release, cannot load the folder, or its states are not the head's input.
        """
        for name, value in _ENVIRONMENT.items():
            if name == "VLLM_LOGGING_LEVEL":
                os.environ.setdefault(name, value)
            else:
                os.environ[name] = value
        import vllm

        version = str(vllm.__version__)
        if not version.startswith(tuple(f"{release}." for release in RELEASES)):
            raise ModelError(f"vLLM {version}: --replayer vllm-local needs {', '.join(RELEASES)} in this environment")
        given: dict[str, Any] = {"gpu_memory_utilization": _GPU_SHARE}
        if not torch.cuda.is_available():
            given = {"kv_cache_memory_bytes": _CPU_CACHE_BYTES}
        try:
            arguments = vllm.EngineArgs(
                model=str(identity.path),
                dtype=dtype,
                load_format="safetensors",
                trust_remote_code=False,
                skip_tokenizer_init=True,
                enforce_eager=True,
                max_model_len=max_model_len,
                max_num_seqs=min(MAX_SEQUENCES, token_budget),
                max_num_batched_tokens=token_budget,
                enable_chunked_prefill=True,
                enable_prefix_caching=False,
                async_scheduling=False,
                logprobs_mode="raw_logits",
                disable_log_stats=True,
                **given,
            )
            found = cls(vllm.LLMEngine.from_engine_args(arguments), version)
            found._check(dtype)
        except ModelError:
            raise
        except Exception as error:  # vLLM raises many types of errors for faulty files and small memories
            said = f"{type(error).__name__}: {first_line(error)}"
            raise ModelError(f"{identity.path}: vLLM {version} cannot compute it here in {dtype}: {said}") from error
        if found.vocabulary != identity.vocabulary:
            raise ModelError(f"{identity.path}: vLLM's head is {found.vocabulary} wide, not the vocabulary's size")
        return found

    @property
    def device(self) -> str:
        return str(self._device)

    def states(self, sequences: Sequence[Sequence[int]], first: Sequence[int]) -> Iterator[list[StatesPart]]:
        """Hidden states of each sequence's positions from its `first` on, step by step, each position once.

        Raises:
            ReplayError: the engine ended a sequence early.
        """
        self._states.forget()
        try:
            for at, ids in enumerate(sequences):
                self._states.expect(self._add(ids), at, first[at])
            left = sum(len(ids) - start for ids, start in zip(sequences, first, strict=True))
            while self._engine.has_unfinished_requests():
                self._engine.step()
                if parts := self._states.take():
                    left -= sum(len(part.hidden) for part in parts)
                    yield parts
            if left:
                raise ReplayError(f"vLLM ended {left} positions early")
        finally:
            if self._engine.has_unfinished_requests():  # the caller stopped early
                self._engine.abort_request(list(self._states.requests), internal=True)
            self._states.forget()

    @torch.no_grad()
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Raw logits of hidden states, [positions, V], in the dtype of the model's head."""
        logits: torch.Tensor = self._model.compute_logits(hidden)
        return logits

    def close(self) -> None:
        """End the engine."""
        with suppress(Exception):  # a second call, or an engine that failed
            self._engine.engine_core.shutdown()

    def _add(self, ids: Sequence[int], prompt_logprobs: int | None = None) -> str:
        """Begin a sequence's prefill; the engine's name of the request."""
        from vllm import SamplingParams

        self._made += 1
        params = SamplingParams(temperature=0.0, max_tokens=1, detokenize=False, prompt_logprobs=prompt_logprobs)
        prompt = self._engine.renderer.render_cmpl([{"prompt_token_ids": list(ids)}])[0]
        return str(self._engine.add_request(str(self._made), prompt, params))

    def _check(self, dtype: str) -> None:
        """Compare logits of these states with those that vLLM itself gives for prompts.

        Raises:
            ModelError: they differ.
        """
        requests = [self._add(ids, prompt_logprobs=1) for ids in _PROBES]
        for at, request in enumerate(requests):
            self._states.expect(request, at, 0)
        given = []
        while self._engine.has_unfinished_requests():
            given += [output for output in self._engine.step() if output.finished]
        parts = sorted(self._states.take(), key=lambda part: (part.sequence, part.first))
        self._states.forget()
        given.sort(key=lambda output: int(output.request_id.split("-")[0]))
        self.vocabulary = 0
        for at, (ids, output) in enumerate(zip(_PROBES, given, strict=True)):
            ours = self.logits(torch.cat([part.hidden for part in parts if part.sequence == at])).double().cpu()
            if len(ours) != len(ids):
                raise ModelError(f"vLLM gave states of {len(ours)} positions of {len(ids)}")
            self.vocabulary = ours.shape[1]
            for row, known in zip(ours, output.prompt_logprobs[1:], strict=False):
                for token, logit in known.items():
                    if not abs(float(row[token]) - logit.logprob) <= _TOLERANCE[dtype] * (1 + abs(logit.logprob)):
                        raise ModelError(
                            f"vLLM {self.version}: logit {logit.logprob:.3f} of a prompt's token is"
                            f" {float(row[token]):.3f} by its model's head; not supported"
                        )
