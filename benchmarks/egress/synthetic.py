"""A large capture of honest synthetic traffic: connections of one exchange each, one token an event and a frame."""

import struct
from collections.abc import Iterator
from pathlib import Path

from benchmarks.egress.wire import PORT, Tcp, Wire
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.record import Engine, Record
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.egress.frames import Frame

PROMPT, SEED = list(range(1, 101)), 7
IDS = [11 * at % 40_000 for at in range(100)]
_PORTS = range(10_000, 60_000)
_PORT_PLACES, _CHECKSUM = (34, 36), 50


def record() -> bytes:
    """The canonical bytes of the record of every exchange."""
    return encode_record(
        Record(
            engine=Engine(name="vllm", version="0.32.0", sampler="vllm-cpu"),
            model="source",
            prompt_token_ids=PROMPT,
            output_token_ids=IDS,
            seed=SEED,
            choice_index=0,
            sampling=SamplingParams(temperature=1.0, top_k=50, max_tokens=len(IDS)),
            finish_reason="length",
            stop_reason=None,
        )
    )


def write_capture(path: Path, frames: int) -> int:
    """Write a pcap file of at least so many frames; the number of its exchanges."""
    exchange = _exchange()
    count = -(-frames // len(exchange))
    with path.open("wb") as stream:
        stream.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for number in range(count):
            for frame in _moved(exchange, number):
                seconds, micros = divmod(round(frame.time * 1e6), 1_000_000)
                stream.write(struct.pack("<IIII", seconds, micros, len(frame.data), frame.length) + frame.data)
    return count


def _exchange() -> list[Frame]:
    """The frames of one connection."""
    wire = Wire(step=0.0001)
    tcp = Tcp(wire, _PORTS[0])
    tcp.ask(PROMPT, SEED)
    tcp.answer(IDS)
    tcp.finish()
    return wire.frames


def _moved(frames: list[Frame], number: int) -> Iterator[Frame]:
    """The frames at another port of the sidecar and a later time, with their checksums."""
    port = _PORTS[number % len(_PORTS)]
    shift = number * (frames[-1].time - frames[0].time + 0.0001)
    for frame in frames:
        data = bytearray(frame.data)
        place = next(at for at in _PORT_PLACES if int.from_bytes(data[at : at + 2], "big") != PORT)
        checksum = int.from_bytes(data[_CHECKSUM : _CHECKSUM + 2], "big") + _PORTS[0] - port
        data[place : place + 2] = port.to_bytes(2, "big")
        data[_CHECKSUM : _CHECKSUM + 2] = (checksum % 0xFFFF).to_bytes(2, "big")
        yield frame._replace(data=bytes(data), time=frame.time + shift)
