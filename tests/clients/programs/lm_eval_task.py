"""lm-evaluation-harness: a multiple-choice task by log-likelihoods, as `lm_eval --model local-completions` runs it.

Arguments: URL of the completions, the tokenizer's folder, the folder with the task, the task's name, and the seconds
after which the program ends with the stacks of its threads.
"""

import faulthandler
import json
import sys

url, tokenizer, folder, task, seconds = sys.argv[1:6]
faulthandler.dump_traceback_later(float(seconds), exit=True)  # the imports are within that time, too

import lm_eval  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

found = lm_eval.simple_evaluate(
    model="local-completions",
    model_args={
        "base_url": url,
        "model": "small",
        "tokenizer": tokenizer,
        "tokenizer_backend": "huggingface",
        "max_length": 1024,
        "num_concurrent": 2,
        "max_retries": 1,
    },
    tasks=[task],
    task_manager=TaskManager(include_path=folder, include_defaults=False),
    batch_size=4,
    bootstrap_iters=0,
    log_samples=True,
)
assert found is not None
samples = sorted(found["samples"][task], key=lambda one: one["doc_id"])
values = [[[float(logprob), bool(greedy)] for logprob, greedy in one["filtered_resps"]] for one in samples]
scores = found["results"][task]
print(json.dumps({"acc": scores["acc,none"], "acc_norm": scores["acc_norm,none"], "values": values}))
