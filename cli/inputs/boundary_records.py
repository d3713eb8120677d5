"""Of many records, the few that decide whether all of them can be verified."""

from weightwarden.logger.formats.location import PlacedRecord


class Deciding:
    """Of many records those few that decide whether all of them fit a model and a policy.

    Attributes:
        records: where they fit, all do: the longest, the one with the largest token id, and two engines where there
            are two, of which no policy holds for both.
    """

    def __init__(self) -> None:
        self._by_engine: dict[tuple[str, str, str], PlacedRecord] = {}
        self._widest: PlacedRecord | None = None
        self._vocabulary = 0
        self._longest: PlacedRecord | None = None
        self._length = -1

    @property
    def records(self) -> list[PlacedRecord]:
        found = [*self._by_engine.values(), self._widest, self._longest]
        return [record for record in found if record is not None]

    def look(self, placed: PlacedRecord) -> None:
        """Look at one more record."""
        record = placed.record
        if len(self._by_engine) < 2:
            engine = record.engine
            self._by_engine.setdefault((engine.sampler, engine.name, engine.version), placed)
        while (beyond := record.out_of_vocabulary(self._vocabulary)) is not None:
            self._vocabulary, self._widest = beyond[1] + 1, placed
        length = len(record.prompt_token_ids) + len(record.output_token_ids)
        if length > self._length:
            self._length, self._longest = length, placed
