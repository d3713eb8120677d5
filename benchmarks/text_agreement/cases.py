"""Random answers for a tokenizer: text, broken characters, special tokens, ids that it lacks, and stop strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from weightwarden.logger.text.ending import Text
from weightwarden.logger.text.token_bytes import BROKEN
from weightwarden.logger.text.tokenizer import ModelTokenizer
from weightwarden.sampler.params import SamplingParams

TEXTS = ("Hello world, it's me.", "a  b\n\tc", "naïve 日本語 🙂🏳️‍🌈", " «é»—“x”", "ab, b. ▁a <s> </w> ##b", "0.5€ Ġ")
_MAX_LENGTH = 24


@dataclass(frozen=True, kw_only=True)
class Case:
    """A prompt, and an answer that a server draws for it.

    Attributes:
        ids: tokens that the server draws, even beyond the end of the answer.
        step: number of tokens drawn at once.
    """

    prompt: list[int]
    ids: list[int]
    sampling: SamplingParams
    step: int


@dataclass(frozen=True)
class Outcome:
    """The text of an answer, its number of tokens, and its end.

    Attributes:
        stop: the stop string or token that ended it, or None at the length limit.
    """

    text: str
    tokens: int
    stop: int | str | None


class Cases:
    """Generator of random cases for one tokenizer."""

    def __init__(self, tokenizer: ModelTokenizer, random: Random) -> None:
        table = tokenizer.table
        self._tokenizer, self._random = tokenizer, random
        self._all = range(len(table.of_id))
        self._parts = [i for i in self._all if table.text_of_id[i] is None] or list(self._all)
        self._whole = [i for i in self._all if table.text_of_id[i] and i not in table.added]
        self._added = sorted(table.added) or list(self._all)

    def one(self) -> Case:
        """The next case."""
        random = self._random
        prompt = self._ids(random.randint(1, 6), whole=0.9)
        ids = self._ids(random.randint(1, _MAX_LENGTH), whole=0.7)
        skip = random.random() < 0.5
        fields = {
            "max_tokens": len(ids),
            "min_tokens": random.choice([0, 0, 0, 1, 3]) % (len(ids) + 1),
            "skip_special_tokens": skip,
            "spaces_between_special_tokens": skip or random.random() < 0.7,
            "include_stop_str_in_output": random.random() < 0.3,
            "stop_token_ids": [random.choice(ids)] if random.random() < 0.2 else [],
        }
        plain = SamplingParams.model_validate({**fields, "stop_token_ids": []})
        text = outcome(self._tokenizer, Case(prompt=prompt, ids=ids, sampling=plain, step=1)).text
        if random.random() < 0.6:
            fields["stop"] = self._stops(text)
        return Case(
            prompt=prompt, ids=ids, sampling=SamplingParams.model_validate(fields), step=random.choice([1, 1, 2, 5])
        )

    def _ids(self, count: int, *, whole: float) -> list[int]:
        """Token ids; `whole` is the probability that the last id is text by itself."""
        random, ids = self._random, list[int]()
        while len(ids) < count:
            match random.randrange(6):
                case 0 | 1:
                    text = random.choice(TEXTS)
                    ids += self._tokenizer.encode_answer(text[random.randrange(len(text)) :])
                case 2 | 3:
                    ids.append(random.choice(self._all))
                case 4:
                    ids += random.choices(self._parts, k=random.randint(1, 3))
                case _:
                    ids += random.choices(self._added, k=random.randint(1, 2))
        return [*ids[: count - 1], random.choice(self._whole) if random.random() < whole else ids[count - 1]]

    def _stops(self, text: str) -> list[str]:
        random, stops = self._random, ["\n"]
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(text) + 1)
            stops.append(text[at : at + random.randint(1, 5)])
        stops = [stop for stop in dict.fromkeys(stops) if stop and BROKEN not in stop]
        random.shuffle(stops)
        return stops


def outcome(tokenizer: ModelTokenizer, case: Case, splits: Sequence[int] = ()) -> Outcome:
    """The sidecar's result for a case that arrives in parts, which end at `splits`."""
    text = Text(tokenizer.detokenizer(case.sampling, case.prompt), case.sampling, frozenset())
    pieces: list[str] = []
    bounds = [0, *splits, len(case.ids)]
    for start, end in pairwise(bounds):
        some, ending = text.add(case.ids[start:end])
        pieces += some
        if ending is not None:
            break
    return Outcome("".join(pieces) + text.rest(), len(pieces), None if ending is None else ending.stop_reason)
