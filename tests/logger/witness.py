"""A strict witness (c2sp.org/tlog-witness), written from the specifications without the project's code."""

import base64
import hashlib
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Answer = tuple[int, dict[str, str], bytes]


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def roots_of_proof(old_size: int, new_size: int, old_root: bytes, proof: list[bytes]) -> tuple[bytes, bytes] | None:
    """Old and new root that a consistency proof leads to (RFC 6962 section 2.1.2); None for a wrong length."""
    left = list(proof)

    def roots(m: int, n: int, whole: bool) -> tuple[bytes, bytes]:
        if m == n:
            same = old_root if whole else left.pop()
            return same, same
        k = 1 << (n - 1).bit_length() - 1
        sibling = left.pop()
        if m <= k:
            old, new = roots(m, k, whole)
            return old, node(new, sibling)
        old, new = roots(m - k, n - k, False)
        return node(sibling, old), node(sibling, new)

    try:
        found = roots(old_size, new_size, True)
    except IndexError:
        return None
    return None if left else found


@dataclass
class StrictWitness:
    """A witness's state and rules.

    Attributes:
        name: the witness's name.
        logs: public key (32 bytes) of each known log by origin, which is also its key's name.
        key: the private key.
        clock: Unix time.
        cosigned: every size and root it cosigned, by origin, in order.
        refusals: status of each request that it did not cosign.
        instead: if set, the answer to a body, in place of the rules'.
    """

    name: str
    logs: dict[str, bytes]
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    clock: Callable[[], float] = time.time
    cosigned: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    refusals: list[int] = field(default_factory=list)
    instead: Callable[[bytes], Answer] | None = None
    url: str = ""
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def vkey(self) -> str:
        public = b"\x04" + self.key.public_key().public_bytes_raw()
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(public).decode()}"

    @property
    def key_id(self) -> bytes:
        public = b"\x04" + self.key.public_key().public_bytes_raw()
        return hashlib.sha256(self.name.encode() + b"\n" + public).digest()[:4]

    def line(self, text: bytes, seconds: int | None = None) -> bytes:
        """A cosignature line on a checkpoint's text."""
        at = int(self.clock()) if seconds is None else seconds
        signature = self.key.sign(b"cosignature/v1\ntime %d\n" % at + text)
        coded = base64.b64encode(self.key_id + at.to_bytes(8, "big") + signature).decode()
        return f"\N{EM DASH} {self.name} {coded}\n".encode()

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to a request, by the rules, in the order of the specification."""
        head, blank, note = body.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        old = re.fullmatch(rb"old (0|[1-9][0-9]*)", first)
        text, _, signatures = note.partition(b"\n\n")
        text += b"\n"
        parts = text.split(b"\n")
        if not blank or old is None or len(lines) > 63 or len(parts) < 4 or not signatures.endswith(b"\n"):
            return 400, {}, b""
        proof = [base64.b64decode(one, validate=True) for one in lines]
        if any(len(one) != 32 for one in proof):
            return 400, {}, b""
        origin, size, root = parts[0].decode(), int(parts[1]), base64.b64decode(parts[2], validate=True)
        if origin not in self.logs:
            return 404, {}, b""
        if not self.signed(origin, text, signatures):
            return 403, {}, b""
        old_size = int(old[1])
        if old_size > size:
            return 400, {}, b""
        known_size, known_root = self.cosigned[origin][-1] if self.cosigned.get(origin) else (0, b"")
        if old_size != known_size:
            return 409, {"content-type": "text/x.tlog.size"}, b"%d\n" % known_size
        if old_size == size and root != known_root:
            return 422, {}, b""
        if old_size in (0, size):
            if proof:
                return 422, {}, b""
        elif roots_of_proof(old_size, size, known_root, proof) != (known_root, root):
            return 422, {}, b""
        self.cosigned.setdefault(origin, []).append((size, root))
        return 200, {"content-type": "text/plain"}, self.line(text)

    def signed(self, origin: str, text: bytes, signatures: bytes) -> bool:
        """Whether the log signed a checkpoint."""
        key_id = hashlib.sha256(origin.encode() + b"\n\x01" + self.logs[origin]).digest()[:4]
        for line in signatures.decode().splitlines():
            dash, name, coded = line.split(" ")
            data = base64.b64decode(coded, validate=True)
            if (dash, name, data[:4]) == ("\N{EM DASH}", origin, key_id):
                try:
                    Ed25519PublicKey.from_public_bytes(self.logs[origin]).verify(data[4:], text)
                except InvalidSignature:
                    return False
                return True
        return False


@contextmanager
def serving(witness: StrictWitness, tls: ssl.SSLContext | None = None) -> Iterator[StrictWitness]:
    """A witness behind a socket, with TLS if wanted; its `url` is set."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers: dict[str, str]
            if self.path != "/prefix/add-checkpoint":
                status, headers, data = 404, {}, b""
            elif witness.instead is not None:
                status, headers, data = witness.instead(body)
            else:
                with witness.turn:
                    status, headers, data = witness.add_checkpoint(body)
                if status != 200:
                    witness.refusals.append(status)
            self.send_response(status)
            for name, value in {"content-length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    witness.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/prefix"
    try:
        yield witness
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
