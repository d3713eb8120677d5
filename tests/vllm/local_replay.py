"""A program that replays records with vLLM's engine in its own process, and with transformers; prints what differs.

    python local_replay.py SITE_PACKAGES MODEL TRAFFIC TOKEN_BUDGET RECORDS

vLLM comes from another environment's packages, after those of this interpreter.
"""

import json
import sys
from pathlib import Path

import torch


def main(site: str, model: str, traffic: str, token_budget: str, records: str) -> None:
    sys.path.append(site)
    from weightwarden.logger.formats.traffic_file import read_traffic
    from weightwarden.verifier.model.identity import identify_model
    from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
    from weightwarden.verifier.replay.vllm_local.replayer import VllmLocalReplayer

    some = [placed.record for placed in read_traffic(Path(traffic))][: int(records)]
    identity = identify_model(Path(model))
    local = VllmLocalReplayer.load(identity, dtype="float32", token_budget=int(token_budget), max_model_len=1024)
    found = []
    for replayer in (local, TransformersReplayer.load(identity)):
        rows = [torch.full((len(record.output_token_ids), identity.vocabulary), torch.nan) for record in some]
        for batch in replayer.batches(some):
            for chunk in replayer.replay(batch, some):
                for piece in chunk.pieces:
                    for at in range(piece.count):
                        row = torch.from_numpy(chunk.rows.row(piece.row + at))
                        assert rows[piece.record][piece.start + at].isnan().all(), "a position came twice"
                        rows[piece.record][piece.start + at] = row
        found.append(torch.cat(rows))
    stopped = local.replay(local.batches(some)[0], some)
    next(stopped)
    del stopped  # the engine drops what is under way
    again = sum(len(chunk.rows) for batch in local.batches(some) for chunk in local.replay(batch, some))
    local.close()
    result = {"largest": float((found[0] - found[1]).abs().max()), "positions": len(found[0]), "again": again}
    print(json.dumps(result | {"vllm": local.engine.version, "batches": len(local.batches(some))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
