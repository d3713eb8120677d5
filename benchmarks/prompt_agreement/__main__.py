"""Compare the sidecar's prompts with vLLM's, or record vLLM's for the tests.

    python -m benchmarks.prompt_agreement compare --vllm-python PYTHON
    python -m benchmarks.prompt_agreement record --vllm-python PYTHON

`compare` counts, over public chat templates and real tokenizers, the chats for which both make the same token ids or
both refuse, and prints each exception. `record` writes the engine's answers to tests/data.
"""

import asyncio
import importlib.metadata
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from benchmarks.prompt_agreement.agreement import Compared, Question, ask_engine, ask_sidecar, compared
from benchmarks.prompt_agreement.conversations import CHATML, CONVERSATIONS, LONG, OWN_TEMPLATES
from benchmarks.prompt_agreement.models import has_template, model_of
from benchmarks.prompt_agreement.recorded import RECORDED_PROMPTS, digest, write_recorded
from benchmarks.prompt_agreement.templates import WHEEL, public_templates
from benchmarks.recording.registry_packages import TOKENIZERS
from weightwarden.verifier.model.embedded import ensure_embedded_model

_vllm = click.option("--vllm-python", envvar="WEIGHTWARDEN_VLLM_PYTHON", required=True, help="Interpreter with vLLM.")


@click.group()
def main() -> None:
    """Prompts of the sidecar beside those of vLLM."""


@main.command()
@_vllm
@click.option("--every", default=1, show_default=True, help="Take every N-th public template.")
@click.option("--only", multiple=True, help="Take the public templates whose names contain this.")
@click.option("--tokenizers/--no-tokenizers", default=True, show_default=True, help="Compare real tokenizers, too.")
def compare(vllm_python: str, every: int, only: tuple[str, ...], tokenizers: bool) -> None:
    """Count agreements, and print differences."""
    public = public_templates()
    names = [name for name in sorted(public) if not only or any(part in name for part in only)][::every]
    _print_run(f"{len(names)} templates of {WHEEL}, tokenizer of SmolLM2")
    _report(_asked(vllm_python, ensure_embedded_model(), {name: public[name] for name in names}))
    for tokenizer in TOKENIZERS if tokenizers else ():
        with tempfile.TemporaryDirectory() as scratch:
            folder = model_of(tokenizer, Path(scratch) / tokenizer)
            template = None if has_template(folder) else CHATML
            _print_run(f"tokenizer {TOKENIZERS[tokenizer].name}, {'ChatML' if template else 'its own template'}")
            _report(_asked(vllm_python, folder, {tokenizer: template}))


@main.command()
@_vllm
def record(vllm_python: str) -> None:
    """Write the engine's answers to tests/data."""
    folder, public = ensure_embedded_model(), public_templates()
    own = [question for question in _questions(OWN_TEMPLATES) if question.chat != LONG]
    texts: dict[str, dict[str, str | None]] = {}
    for question, prompt in zip(own, ask_engine(vllm_python, folder, own), strict=True):
        texts.setdefault(question.template, {})[question.chat] = prompt["text"] if prompt.get("ids") else None
    lasting = {name: text for name, text in public.items() if "strftime_now" not in text}
    asked = _questions(lasting)
    answers = ask_engine(vllm_python, folder, asked)
    digests = {
        name: digest((q.chat, prompt) for q, prompt in zip(asked, answers, strict=True) if q.template == name)
        for name in lasting
    }
    write_recorded(engine=_version(vllm_python), texts=texts, digests=digests)
    click.echo(f"{RECORDED_PROMPTS}: {len(texts)} and {len(digests)} templates")


def _questions(templates: Mapping[str, str | None]) -> list[Question]:
    return [
        Question(template=name, text=text, chat=chat, body=body)
        for name, text in templates.items()
        for chat, body in CONVERSATIONS.items()
    ]


def _asked(python: str, folder: Path, templates: Mapping[str, str | None]) -> list[Compared]:
    questions = _questions(templates)
    engine = ask_engine(python, folder, questions)
    return compared(questions, engine, asyncio.run(ask_sidecar(folder, questions)))


def _print_run(what: str) -> None:
    click.echo(f"\n{what}, {len(CONVERSATIONS)} conversations")


def _report(results: Iterable[Compared]) -> None:
    results = list(results)
    for outcome, count in Counter(one.outcome for one in results).most_common():
        click.echo(f"  {outcome}: {count:,}")
    exceptions: dict[tuple[str, str], list[Compared]] = {}
    for one in results:
        if one.outcome not in ("equal", "both refuse"):
            exceptions.setdefault((one.outcome, one.question.chat), []).append(one)
    for (outcome, chat), found in exceptions.items():
        first = found[0]
        click.echo(f"  {outcome}: {chat} ({len(found)} templates, such as {first.question.template})")
        click.echo(f"    engine: {first.engine.get('refused') or first.engine.get('text')!r}")
        click.echo(f"    sidecar: {first.sidecar.get('refused') or 'other ids'}")


def _version(python: str) -> str:
    """The versions of the relevant packages, as one line."""
    asked = "import importlib.metadata as m, vllm; print(vllm.__version__, m.version('transformers'))"
    said = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)  # noqa: S603
    vllm, transformers = said.stdout.split()[-2:]
    return f"vLLM {vllm}, transformers {transformers}, jinja2 {importlib.metadata.version('jinja2')}"


if __name__ == "__main__":
    main()
