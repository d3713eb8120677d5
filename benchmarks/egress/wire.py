"""Frames of a link, built byte by byte, and capture files of them."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from weightwarden.verifier.egress.frames import Frame
from weightwarden.verifier.egress.layers import ACK, FIN, RST, SYN
from weightwarden.verifier.egress.link import Endpoint, Heartbeat, Link

SIDECAR, SERVER = "10.9.0.1", "10.9.0.2"
SIDECAR_MAC, SERVER_MAC = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
PORT = 8000
GROUP = "239.255.77.77"
LINK = Link(
    sidecars=frozenset({ip_address(SIDECAR).packed}),
    servers=frozenset({Endpoint(ip_address(SERVER).packed, PORT)}),
)
BEATING = Link(sidecars=LINK.sidecars, servers=LINK.servers, heartbeat=Heartbeat.parse(f"{GROUP}:9/1"))
MACS = {SIDECAR: SIDECAR_MAC, SERVER: SERVER_MAC, GROUP: b"\x01\x00\x5e\x7f\x4d\x4d"}


def internet_checksum(data: bytes) -> int:
    """The Internet checksum, as RFC 1071 adds it up."""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(source: str, target: str, kind: int, content: bytes) -> bytes:
    data = MACS[target] + MACS[source] + kind.to_bytes(2, "big") + content
    return data + bytes(max(0, 60 - len(data)))


def ipv4(source: str, target: str, protocol: int, payload: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:
    length = 20 + len(options)
    header = bytearray(
        struct.pack(">BBHHHBBH", 0x40 + length // 4, 0, length + len(payload), 7, fragment, 64, protocol, 0)
        + ip_address(source).packed
        + ip_address(target).packed
        + options
    )
    header[10:12] = internet_checksum(bytes(header)).to_bytes(2, "big")
    return ethernet(source, target, 0x0800, bytes(header) + payload)


def with_checksum(source: str, target: str, protocol: int, payload: bytes, at: int) -> bytes:
    addresses = ip_address(source).packed + ip_address(target).packed
    pseudo = addresses + struct.pack(">BBH", 0, protocol, len(payload))
    if len(addresses) == 32:
        pseudo = addresses + struct.pack(">IHBB", len(payload), 0, 0, protocol)
    checksum = internet_checksum(pseudo + payload).to_bytes(2, "big")
    return payload[:at] + checksum + payload[at + 2 :]


def udp(source: str, target: str, port: int, content: bytes) -> bytes:
    datagram = struct.pack(">HHHH", 40_000, port, 8 + len(content), 0) + content
    return ipv4(source, target, 17, with_checksum(source, target, 17, datagram, 6))


def arp(asks: bool, *, padding: bytes = bytes(18), target: str = SERVER) -> bytes:
    """The sidecar's question for the server's link address, or the server's answer."""
    if asks:
        content = SIDECAR_MAC + ip_address(SIDECAR).packed + bytes(6) + ip_address(target).packed
        addresses = b"\xff" * 6 + SIDECAR_MAC
    else:
        content = SERVER_MAC + ip_address(SERVER).packed + SIDECAR_MAC + ip_address(SIDECAR).packed
        addresses = SIDECAR_MAC + SERVER_MAC
    return addresses + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00" + bytes([1 if asks else 2]) + content + padding


def tcp(
    source: str,
    target: str,
    ports: tuple[int, int],
    sequence: int,
    acknowledgement: int,
    flags: int,
    payload: bytes = b"",
    *,
    options: bytes = b"",
    window: int = 60_000,
) -> bytes:
    bits = (20 + len(options)) // 4 << 12 | flags
    header = struct.pack(">HHIIHHHH", *ports, sequence % 2**32, acknowledgement % 2**32, bits, window, 0, 0)
    return ipv4(source, target, 6, with_checksum(source, target, 6, header + options + payload, 16))


@dataclass
class Wire:
    """A link under capture.

    Attributes:
        frames: what was captured, in the order of time.
        now: the present moment, seconds since 1970.
        step: seconds between two frames.
    """

    frames: list[Frame] = field(default_factory=list)
    now: float = 1_800_000_000.0
    step: float = 0.001

    def put(self, data: bytes, length: int | None = None) -> None:
        self.now += self.step
        number = len(self.frames) + 1
        self.frames.append(Frame(self.now, data, len(data) if length is None else length, "link.pcap", number))

    def resolve(self) -> None:
        """An address resolution."""
        self.put(arp(True))
        self.put(arp(False))

    def beat(self) -> None:
        self.put(udp(SIDECAR, GROUP, 9, b"weightwarden heartbeat\n"))


class Tcp:
    """A connection of the sidecar.

    Attributes:
        up: sequence number of the sidecar's next byte.
        down: sequence number of the server's next byte.
    """

    def __init__(self, wire: Wire, port: int = 40_000, *, up: int = 1_000, down: int = 2**32 - 300) -> None:
        """An open connection. The server's sequence numbers soon wrap around."""
        self.wire, self.port, self.up, self.down = wire, port, up, down
        self.segment(True, SYN, options=b"\x03\x03\x07\x00", window=60_000)
        self.up += 1
        self.segment(False, SYN | ACK, options=b"\x03\x03\x07\x00", window=60_000)
        self.down += 1
        self.segment(True, ACK)

    def segment(
        self,
        upward: bool,
        flags: int,
        payload: bytes = b"",
        *,
        offset: int = 0,
        options: bytes = b"",
        window: int = 500,
    ) -> None:
        """A segment; it does not advance the sequence numbers."""
        if upward:
            ends, ports, sequence, acknowledged = (SIDECAR, SERVER), (self.port, PORT), self.up, self.down
        else:
            ends, ports, sequence, acknowledged = (SERVER, SIDECAR), (PORT, self.port), self.down, self.up
        sequence += offset
        self.wire.put(
            tcp(
                *ends, ports, sequence, acknowledged * bool(flags & ACK), flags, payload, options=options, window=window
            )
        )

    def send(self, payload: bytes, *, upward: bool, size: int = 1400) -> None:
        """Bytes, in segments that are acknowledged."""
        for at in range(0, len(payload), size):
            part = payload[at : at + size]
            self.segment(upward, ACK, part)
            if upward:
                self.up += len(part)
            else:
                self.down += len(part)
            self.segment(not upward, ACK)

    def finish(self) -> None:
        """Both ends close."""
        self.segment(True, ACK | FIN)
        self.up += 1
        self.segment(False, ACK | FIN)
        self.down += 1
        self.segment(True, ACK)

    def reset(self) -> None:
        self.segment(True, RST)

    def ask(self, prompt: Sequence[int], seed: int | None, *, path: str = "/v1/completions") -> None:
        self.send(request(prompt, seed, path=path), upward=True)

    def answer(self, ids: Sequence[int], **more: Any) -> None:
        """A whole answer of one token an event, each event a chunk and a segment."""
        head, *parts = answer_parts(ids, **more)
        self.send(head, upward=False)
        for part in parts:
            self.send(part, upward=False)

    def models(self) -> None:
        """The sidecar looks whether the server is ready."""
        self.send(b"GET /v1/models HTTP/1.1\r\nHost: server\r\n\r\n", upward=True)
        body = b'{"data": [{"id": "small"}]}'
        self.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body, upward=False)


def request(prompt: Sequence[int], seed: int | None, *, path: str = "/v1/completions") -> bytes:
    """A request as the sidecar sends it."""
    fields = {"model": "small", "prompt": list(prompt), "n": 1, "stream": True, "max_tokens": 16}
    body = json.dumps(fields if seed is None else {**fields, "seed": seed}).encode()
    return f"POST {path} HTTP/1.1\r\nHost: server\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def answer_parts(ids: Sequence[int], *, end: bool = True, extension: bytes = b"") -> list[bytes]:
    """The head of an answer and its chunks, as vLLM sends them."""
    parts = [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"]
    for at, token in enumerate(ids):
        choice = {"index": 0, "text": "words", "token_ids": [token], "finish_reason": None}
        if at == len(ids) - 1 and end:
            choice["finish_reason"] = "length"
        event = json.dumps({"id": "cmpl-1", "choices": [choice]}).encode()
        parts.append(_chunk(b"data: " + event + b"\n\n", extension))
    if end:
        parts += [_chunk(b"data: [DONE]\n\n", extension), b"0\r\n\r\n"]
    return parts


def _chunk(data: bytes, extension: bytes) -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def write_pcap(path: Path, frames: Sequence[Frame], *, order: str = "<", link_type: int = 1) -> Path:
    """A pcap file with microseconds."""
    data = bytearray(struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link_type))
    for frame in frames:
        seconds, micros = divmod(round(frame.time * 1_000_000), 1_000_000)
        data += struct.pack(f"{order}IIII", seconds, micros, len(frame.data), frame.length) + frame.data
    path.write_bytes(data)
    return path


def block(kind: int, content: bytes, order: str = "<") -> bytes:
    """A block of a pcapng file."""
    content += bytes(-len(content) % 4)
    return struct.pack(f"{order}II", kind, len(content) + 12) + content + struct.pack(f"{order}I", len(content) + 12)


def write_pcapng(path: Path, frames: Sequence[Frame], *, drops: int | None = None, order: str = "<") -> Path:
    """A pcapng file with microseconds, and statistics of its interface where `drops` is given."""
    data = bytearray(block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order))
    data += block(1, struct.pack(f"{order}HHI", 1, 0, 262_144), order)
    for frame in frames:
        time = round(frame.time * 1_000_000)
        header = struct.pack(f"{order}IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame.data), frame.length)
        data += block(6, header + frame.data, order)
    if drops is not None:
        options = struct.pack(f"{order}HHQHHQHH", 4, 8, len(frames), 5, 8, drops, 0, 0)
        data += block(5, struct.pack(f"{order}III", 0, 0, 0) + options, order)
    path.write_bytes(data)
    return path
