# %% [markdown]
# # A log verified, and its margins plotted
#
# Cells of a notebook as a Python file: VS Code, PyCharm and Jupyter (with jupytext) open it, and
# `python examples/notebook.py ARCHIVES PUBLIC_KEY POLICY` runs it from top to bottom.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt

import weightwarden as ww

archives, public_key, policy_file = map(Path, sys.argv[1:4])
picture = Path(sys.argv[4]) if len(sys.argv) > 4 else Path("margins.png")

# %% [markdown]
# The archives are checked against each other and against the log's key before any record is read. The embedded model
# replays here; `ww.load_model("folder")` loads another.

# %%
given = ww.read_archives(archives, public_key=public_key)
policy, model = ww.read_policy(policy_file), ww.load_model()
run = ww.verify(given, policy, model)
exposure = run.exposure
print(f"{run.verdict}: {run.verification.records} records, {exposure.tokens} tokens")
print(f"pooled bound: {exposure.pooled.audited_bits / exposure.tokens:.4f} bits a token")
print("flagged:", [record.place for record in run.verification.flagged])

# %% [markdown]
# One row a token. `tokens.to_pandas()` and `polars.from_arrow(tokens)` open the same table.

# %%
tokens = run.tokens_frame()
others = sum(not exact for exact in tokens["exact"].to_pylist())
print(tokens.schema.names)
print(f"{others} of {len(tokens)} tokens are not the replay's own choice")

# %%
figure, axes = plt.subplots(figsize=(7, 3))
margins = [max(margin, 1e-4) for margin in tokens["margin"].to_pylist() if margin is not None]
axes.hist(margins, bins=60, log=True)
axes.set_xlabel("margin, logits: by how much the best rival beats the token")
axes.set_ylabel("tokens")
figure.tight_layout()
figure.savefig(picture)
print(f"{picture}: {len(margins)} margins")
