"""Check that a record's token ids, length and adapter fit a model."""

from weightwarden.errors import WeightwardenError
from weightwarden.logger.record import Record
from weightwarden.text import printable
from weightwarden.verifier.model.identity import ModelIdentity


class UnfitRecord(WeightwardenError, ValueError):
    """A record that the model cannot have answered; the message names the field."""


def check_fits(record: Record, identity: ModelIdentity) -> None:
    """Check a record against a model's vocabulary, context length and adapters.

    Raises:
        UnfitRecord: the record does not fit; the message names the field.
    """
    outside = record.out_of_vocabulary(identity.vocabulary)
    if outside is not None:
        field, token = outside
        raise UnfitRecord(f"{field}: token id {token} is outside the vocabulary of {identity.vocabulary}")
    original, longest = identity.original_context, identity.longest_context or identity.context_length
    if record.engine.sampler == "sglang" and original is not None and longest != original:
        why = "takes this model's rotary factors by the longest answer in its batch, which no record names"
        raise UnfitRecord(f"engine: SGLang {why}; start it with --context-length {original}")
    length = len(record.prompt_token_ids) + len(record.output_token_ids)
    if longest is not None and length > longest:
        what = f"prompt and output have {length} tokens, the model's context {longest}"
        if longest == original:
            what += " (where the server's is longer, its rotary factors are others: name it with --max-model-len)"
        raise UnfitRecord(f"output_token_ids: {what}")
    adapter = record.adapter
    if adapter is not None and adapter.digest not in identity.adapters:
        name = printable(adapter.name)
        raise UnfitRecord(f"adapter: {name} ({adapter.digest}) was not given: --adapter {name}=FOLDER")
