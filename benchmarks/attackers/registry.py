"""All attackers, in the order of the tables."""

from collections.abc import Sequence

from benchmarks.attackers.admissible_set import AdmissibleSet
from benchmarks.attackers.answer_hash import AnswerHash
from benchmarks.attackers.budgeted import Budgeted
from benchmarks.attackers.constrained import FreePart, KeyOrder, in_arguments, in_json_string, in_thinking
from benchmarks.attackers.early_stop import EarlyStop
from benchmarks.attackers.error_corrected import ErrorCorrected
from benchmarks.attackers.gambling import Gambling
from benchmarks.attackers.interface import Attacker
from benchmarks.attackers.other_server import FewerLayers, FineTuned, Quantised, WrongSystemPrompt, WrongTemperature
from benchmarks.attackers.payload_dump import PayloadDump
from benchmarks.attackers.retokenisation import Retokenisation
from benchmarks.attackers.seed_grinding import SeedGrinding
from benchmarks.attackers.steganography import Steganography
from benchmarks.attackers.substitution import Substitution
from weightwarden.logger.record import Record
from weightwarden.verifier.types import Tokenizer


def attackers(tokenizer: Tokenizer, vocabulary: int, tuning: Sequence[Record]) -> list[Attacker]:
    """Every attacker whose answers are served by `ServedModel`.

    Args:
        tuning: answers on which a model is fine-tuned.
    """
    return [
        PayloadDump(),
        Steganography(),
        Substitution(0.1),
        Substitution(0.01),
        AdmissibleSet(),
        Budgeted(),
        ErrorCorrected(spread=24),
        AnswerHash(bits=1, tries=6),
        Gambling(0.1),
        EarlyStop(),
        Retokenisation(tokenizer, vocabulary),
        SeedGrinding(bits=2, own_seeds=True),
        SeedGrinding(bits=2, own_seeds=False),
        WrongTemperature(1.2),
        WrongTemperature(0.8),
        Quantised(8),
        Quantised(4),
        FineTuned(tuning),
        FewerLayers(),
        WrongSystemPrompt(tokenizer),
    ]


def attackers_under_grammars(tokenizer: Tokenizer) -> list[Attacker]:
    """Attackers of answers that a grammar constrains: those of the parts that it leaves free, and the cleverest."""
    return [
        PayloadDump(),
        FreePart(tokenizer, "values and keys of JSON", in_json_string),
        FreePart(tokenizer, "values and keys of JSON", in_json_string, quiet=True),
        KeyOrder(tokenizer),
        FreePart(tokenizer, "tool arguments", in_arguments),
        FreePart(tokenizer, "tool arguments", in_arguments, quiet=True),
        FreePart(tokenizer, "thinking", in_thinking),
        FreePart(tokenizer, "thinking", in_thinking, quiet=True),
        AdmissibleSet(),
        Budgeted(),
    ]
