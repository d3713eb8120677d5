"""The README of a bundle."""

_TEXT = """\
One record of a tamper-evident log, with the evidence about it. Made by weightwarden {version}.

  manifest.json  format, and SHA-256 of the other members
  record.bin     canonical bytes of the record: prompt, answer, seed, parameters
  record.jsonl   the same record as a line of a traffic file, to be read
  record.proof   proof (c2sp.org/tlog-proof) that the record is in the log, with the log's signed checkpoint
  log.pub        public keys that signed the checkpoint, to be compared with keys from elsewhere
  policy.toml    policy that judged the record
  verdict.json   verdict, reasons, model digest, processor and software of the replay
  replay.json    scores and verdict of every token of the answer

Verify it with a public key of the log that you did not get with this file:

  verify bundle check FILE --public-key log.key.pub
  verify bundle check FILE --public-key log.key.pub --model FOLDER

The first command verifies the proof and the checkpoint's signature, so that the record is the log's. The policy, the
verdict and the table are the statement of the bundle's maker. The second command replays the record on your own copy
of the model, and compares. It needs neither a network nor any other file. Whether the policy itself is sound is for
you to judge: policy.toml holds what it was calibrated on.

The record holds a user's prompt and the answer. Pass it on as carefully as that deserves.
"""


def readme(version: str) -> str:
    """The text for bundles that this version makes."""
    return _TEXT.format(version=version)
