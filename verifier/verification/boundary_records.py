"""The extreme records of a log: where these fit a model and a policy, all records do."""

from weightwarden.logger.formats.location import PlacedRecord


class BoundaryRecords:
    """The records that bound all others: the longest, the one with the largest token id, one of each of two engines,
    one of each adapter.

    Two engines are enough to keep, since no policy holds for two.

    Attributes:
        records: the boundary records among the records added so far.
    """

    def __init__(self) -> None:
        self._by_engine: dict[tuple[str, str, str], PlacedRecord] = {}
        self._by_adapter: dict[str, PlacedRecord] = {}
        self._widest: PlacedRecord | None = None
        self._vocabulary = 0
        self._longest: PlacedRecord | None = None
        self._length = -1

    @property
    def records(self) -> list[PlacedRecord]:
        found = [*self._by_engine.values(), *self._by_adapter.values(), self._widest, self._longest]
        return [record for record in found if record is not None]

    def add(self, placed: PlacedRecord) -> None:
        """Compare one more record with the boundary records so far."""
        record = placed.record
        if len(self._by_engine) < 2:
            engine = record.engine
            self._by_engine.setdefault((engine.sampler, engine.name, engine.version), placed)
        if record.adapter is not None:
            self._by_adapter.setdefault(record.adapter.digest, placed)
        while (beyond := record.out_of_vocabulary(self._vocabulary)) is not None:
            self._vocabulary, self._widest = beyond[1] + 1, placed
        length = len(record.prompt_token_ids) + len(record.output_token_ids)
        if length > self._length:
            self._length, self._longest = length, placed
