"""The extreme records of a log: where these fit a model and a policy, all records do."""

from weightwarden.logger.formats.location import PlacedRecord


class BoundaryRecords:
    """The records that bound all others.

    They are the longest, the one with the largest token id, the first above temperature 0, one of each adapter, one of
    each of two engines, and one of each of two engine profiles. Two engines are enough to keep, since no policy holds
    for two. Two profiles are enough, since no policy that was made for one holds for two.

    Attributes:
        records: the boundary records among the records added so far.
    """

    def __init__(self) -> None:
        self._by_engine: dict[tuple[str, str, str], PlacedRecord] = {}
        self._by_profile: dict[str | None, PlacedRecord] = {}
        self._drawn: PlacedRecord | None = None
        self._by_adapter: dict[str, PlacedRecord] = {}
        self._widest: PlacedRecord | None = None
        self._vocabulary = 0
        self._longest: PlacedRecord | None = None
        self._length = -1

    @property
    def records(self) -> list[PlacedRecord]:
        found = [
            *self._by_engine.values(),
            *self._by_profile.values(),
            *self._by_adapter.values(),
            self._drawn,
            self._widest,
            self._longest,
        ]
        return [record for record in found if record is not None]

    def add(self, placed: PlacedRecord) -> None:
        """Compare one more record with the boundary records so far."""
        record, engine = placed.record, placed.record.engine
        if len(self._by_engine) < 2:
            self._by_engine.setdefault((engine.sampler, engine.name, engine.version), placed)
        if len(self._by_profile) < 2:
            self._by_profile.setdefault(engine.profile, placed)
        if self._drawn is None and not record.sampling.is_greedy:
            self._drawn = placed
        if record.adapter is not None:
            self._by_adapter.setdefault(record.adapter.digest, placed)
        while (beyond := record.out_of_vocabulary(self._vocabulary)) is not None:
            self._vocabulary, self._widest = beyond[1] + 1, placed
        length = len(record.prompt_token_ids) + len(record.output_token_ids)
        if length > self._length:
            self._length, self._longest = length, placed
