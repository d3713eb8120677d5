"""Recorded traffic of real servers, which many tests replay."""

from pathlib import Path

from benchmarks.repository import DATA, FILTERED
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record

__all__ = ["FILTERED", "GREEDY", "RECORDED", "UNFILTERED", "VARIED", "records_of"]

GREEDY = DATA / "smollm2-vllm0.32-greedy.jsonl"
UNFILTERED = DATA / "smollm2-vllm0.32-t1.0-unfiltered.jsonl"
VARIED = DATA / "smollm2-vllm0.32-varied.jsonl"
RECORDED = (FILTERED, GREEDY, UNFILTERED, VARIED)


def records_of(path: Path) -> list[Record]:
    return [placed.record for placed in read_traffic(path)]
