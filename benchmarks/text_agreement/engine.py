"""The inference engine's own text: run by vLLM's Python, with cases on standard input and answers on standard output.

Nothing of this project is imported here. Each line of input is a tokenizer file and its cases. Each case is answered by
`FastIncrementalDetokenizer`, which receives the tokens like from the engine core: one step after another, with a mark
when the core stopped at a token id.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

from tokenizers import Tokenizer


def answered(tokenizer: Any, case: dict[str, Any]) -> dict[str, Any] | None:
    """The engine's text, its number of tokens, and the cause of its end; None if its detokenizer fails."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.detokenizer import FastIncrementalDetokenizer

    sampling = SamplingParams(max_tokens=10_000, detokenize=True, **case["sampling"])
    request = SimpleNamespace(
        request_id="0", prompt_token_ids=case["prompt"], prompt_embeds=None, sampling_params=sampling
    )
    detokenizer = FastIncrementalDetokenizer(SimpleNamespace(_tokenizer=tokenizer), request)
    stop_ids, taken, stop, at = set(case["stop_token_ids"]), 0, None, 0
    ended: int | None = None
    try:
        while at < len(case["ids"]) and stop is None and ended is None:
            step = []
            for token in case["ids"][at : at + case["step"]]:
                step.append(token)
                if token in stop_ids and at + len(step) > sampling.min_tokens:
                    ended = token
                    break
            at += len(step)
            stop = detokenizer.update(step, ended is not None)
        taken = len(detokenizer.output_token_ids)
    except Exception:
        return None
    return {"text": detokenizer.output_text, "tokens": taken, "stop": ended if stop is None else stop}


def main() -> None:
    """Answer the cases on standard input."""
    from vllm.logger import init_logger

    init_logger("vllm.v1.engine.detokenizer").setLevel("ERROR")  # the caller counts its warnings
    for line in sys.stdin:
        asked = json.loads(line)
        tokenizer = Tokenizer.from_file(asked["tokenizer"])
        print(json.dumps([answered(tokenizer, case) for case in asked["cases"]]), flush=True)


if __name__ == "__main__":
    main()
