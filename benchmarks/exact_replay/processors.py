"""Exact replay on this machine's processor, and on narrower ones that it emulates, by dtype, environment and batches.

    python -m benchmarks.exact_replay.processors --vllm-python VENV/bin/python --out FOLDER [--row NAME]... TRAFFIC...

For each row a server is started with a dtype and an environment. It answers requests of the traffic files (their
prompts, seeds and sampling): eight at a time; one at a time; sixteen at a time in a cache too small for them, so that
it preempts some; and long prompts, three at a time. The same server then replays all of them, sixteen at a time. An
emulated processor is this one with instruction sets capped for oneDNN and torch and hidden from vLLM, which chooses its
kernels by `torch.cpu`. It rounds like this processor's narrower kernels, which need not be those of another processor.
"""

import os
import re
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx2
import numpy as np

from benchmarks.exact_replay.server_variations import prolonged
from benchmarks.recording.vllm_answers import answered
from benchmarks.recording.vllm_server import vllm_server
from weightwarden.cli.options.replayer import identity_of
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.processor import Exactness, ServerSettings, this_processor
from weightwarden.verifier.replay.vllm.repeatability import repeatability
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer
from weightwarden.verifier.scoring.token_scores import score

CACHE_BLOCKS = 20
"""Number of blocks of 128 tokens: two for each of eight answers, and too few for sixteen."""
MAX_LENGTH = 128
"""Largest number of tokens of an answer."""
HIDDEN = {
    "AVX-512": ("_is_amx_tile_supported", "_is_amx_fp16_supported"),
    "AVX2": (
        *("_is_amx_tile_supported", "_is_amx_fp16_supported"),
        *("_is_avx512_supported", "_is_avx512_bf16_supported", "_is_vnni_supported"),
    ),
}
"""Functions of `torch.cpu` that return False on an emulated processor."""
AVX2_CAPS = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


@dataclass(frozen=True)
class Row:
    """A server to be measured.

    Attributes:
        dtype: dtype of the model.
        environment: variables of the server.
        emulates: the narrower class of processors that it emulates.
        arguments: further arguments.
    """

    dtype: str
    environment: dict[str, str] = field(default_factory=dict)
    emulates: str | None = None
    arguments: tuple[str, ...] = ()


ROWS = {
    "float32": Row("float32"),
    "bfloat16": Row("bfloat16"),
    "float32, eager": Row("float32", arguments=("--enforce-eager",)),
    "bfloat16, oneDNN up to AVX2": Row("bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "float32, oneDNN up to AVX2": Row("float32", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "AVX-512, bfloat16": Row("bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "AVX-512"),
    "AVX-512, bfloat16, oneDNN up to AVX512_CORE": Row("bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "AVX-512"),
    "AVX-512, bfloat16, oneDNN up to AVX2": Row("bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "AVX-512"),
    "AVX-512, float32": Row("float32", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "AVX-512"),
    "AVX2, bfloat16": Row("bfloat16", AVX2_CAPS, "AVX2"),
    "AVX2, float32": Row("float32", AVX2_CAPS, "AVX2"),
}
COLUMNS = ("eight at a time", "singles", "preempted", "long prompts")


@click.command(help=__doc__)
@click.argument("traffic", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--vllm-python", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for logs; made when new.")
@click.option("--records", default=10, show_default=True, help="Records of each traffic file.")
@click.option("--row", "names", multiple=True, metavar="NAME", type=click.Choice(list(ROWS)), help="Only this one.")
def main(traffic: tuple[Path, ...], vllm_python: Path, out: Path, records: int, names: tuple[str, ...]) -> None:
    identity = identity_of(None)
    requests = [_shortened(placed.record) for path in traffic for placed in list(read_traffic(path))[:records]]
    out.mkdir(parents=True, exist_ok=True)
    click.echo(f"{this_processor(os.environ)}; equal tokens of all")
    click.echo(f"{'':<44}" + "".join(f"{column:>22}" for column in COLUMNS) + f"{'tokens/s':>10}   `verify vllm check`")
    for name in names or ROWS:
        click.echo(f"{name:<44}" + _measured(name, vllm_python, identity, out, requests))


def _shortened(record: Record) -> Record:
    limit = min(MAX_LENGTH, record.sampling.max_tokens or MAX_LENGTH)
    return record.model_copy(update={"sampling": record.sampling.model_copy(update={"max_tokens": limit})})


def _measured(name: str, python: Path, identity: ModelIdentity, out: Path, requests: Sequence[Record]) -> str:
    """A row's figures, or the reason why its server does not start."""
    row = ROWS[name]
    log = out / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.log"
    settings = ServerSettings(dtype=row.dtype, environment=row.environment, exactness=Exactness.UNKNOWN)
    arguments = ("--max-logprobs", "1024", "--num-gpu-blocks-override", str(CACHE_BLOCKS), *row.arguments)
    with ExitStack() as closing:
        hidden = {}
        if row.emulates is not None:
            hidden = {"PYTHONPATH": closing.enter_context(tempfile.TemporaryDirectory())}
            _hide(Path(hidden["PYTHONPATH"]), HIDDEN[row.emulates])
        try:
            client = closing.enter_context(vllm_server(python, identity.path, log, arguments, hidden, settings))
        except ReplayServerError as error:
            return f"  does not start: {' '.join(str(error).split())[:300]}"
        tested = repeatability(client)
        started = time.monotonic()
        concurrent = _answers(client, requests, identity, 8)
        rate = sum(len(record.output_token_ids) for record in concurrent) / (time.monotonic() - started)
        cells = [_equal(client, identity, row.dtype, concurrent)]
        cells.append(_equal(client, identity, row.dtype, _answers(client, requests[::5], identity, 1)))
        before = _preemptions(client.url)
        crowded = _answers(client, [*requests, *requests[:16]], identity, 16)
        preempted = _preemptions(client.url) - before
        cells.append(f"{_equal(client, identity, row.dtype, crowded)} ({preempted:.0f})")
        cells.append(_equal(client, identity, row.dtype, _answers(client, prolonged(requests), identity, 3)))
    return "".join(f"{cell:>22}" for cell in cells) + f"{rate:>10.1f}   {tested}"


def _hide(folder: Path, functions: Sequence[str]) -> None:
    """Make every interpreter with the folder in PYTHONPATH start with functions of `torch.cpu` that return False."""
    lines = ["import torch.cpu", *(f"torch.cpu.{name} = lambda: False" for name in functions)]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _answers(client: VllmClient, requests: Sequence[Record], identity: ModelIdentity, at_once: int) -> list[Record]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda request: answered(client, request, identity.eos_ids), requests))


def _preemptions(url: str) -> float:
    text = httpx2.get(f"{url}/metrics", timeout=60, trust_env=False).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("vllm:num_preemptions_total"))


def _equal(client: VllmClient, identity: ModelIdentity, dtype: str, records: Sequence[Record]) -> str:
    """Number of tokens that equal the replay's, up to ties, and number of all tokens."""
    replayer = VllmReplayer(client, identity, load_tokenizer(identity), dtype=dtype, redraw=True)
    margins = np.concatenate(
        [score(p.table, EXACT_TOLERANCE, 0).margin_n for p in Replay(replayer, EXACT_WINDOW).tables(records)]
    )
    return f"{int((margins <= EXACT_TOLERANCE.margin).sum())} of {len(margins)}"


if __name__ == "__main__":
    main()
