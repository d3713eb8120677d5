"""Keys of signed notes (c2sp.org/signed-note), Ed25519 only: signing keys, public keys, and their files."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from weightwarden.logger.files.private import MAX_FILE_BYTES, KeyFileError, read_private, write_private
from weightwarden.text import printable

ED25519 = b"\x01"
"""The algorithm byte of a signature of a note."""
KEY_BYTES, SIGNATURE_BYTES, ID_BYTES = 32, 64, 4
MAX_KEYS = 64
MAX_NAME = 256
_PRIVATE = "PRIVATE+KEY+"

Key = TypeVar("Key", bound="VerifierKey")


class VerifierKey:
    """A named public key, written `name+id+base64(0x01 || key)`.

    Attributes:
        name: the signer's name; for a log, its origin.
        public: 32 bytes.
        key_id: 4 bytes, computed from name and key.
        algorithm: byte of the algorithm.
        algorithm_name: name and number of the algorithm.
        signature_bytes: length of a signature.
    """

    algorithm: ClassVar[bytes] = ED25519
    algorithm_name: ClassVar[str] = "Ed25519 (1)"
    signature_bytes: ClassVar[int] = SIGNATURE_BYTES

    def __init__(self, name: str, public: bytes) -> None:
        """A public key.

        Raises:
            KeyFileError: the name or the key is invalid.
        """
        check_name(name)
        if len(public) != KEY_BYTES:
            raise KeyFileError(f"an Ed25519 public key has {KEY_BYTES} bytes, not {len(public)}")
        self.name, self.public = name, public
        self.key_id = hashlib.sha256(name.encode() + b"\n" + self.algorithm + public).digest()[:ID_BYTES]
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key in its written form.

        Raises:
            KeyFileError: the text has another form, another algorithm, or an id that does not match the key.
        """
        if text.startswith(_PRIVATE):
            raise KeyFileError("a private key where a public key is wanted")
        name, _, rest = text.partition("+")
        key = cls(name, _key_bytes(rest.partition("+")[2], cls.algorithm, cls.algorithm_name))
        if str(key) != text:
            raise KeyFileError("its key id is not that of name and key")
        return key

    def holds(self, signature: bytes, text: bytes) -> bool:
        """True if this key's holder signed the text."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.algorithm + self.public).decode()}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifierKey) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class SigningKey:
    """A named private key. Only `write` and `sign` use the secret, and nothing shows it."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = VerifierKey(name, private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> "SigningKey":
        """A new key.

        Raises:
            KeyFileError: the name is invalid.
        """
        check_name(name)
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> "SigningKey":
        """The key in a file that `write` wrote.

        Raises:
            KeyFileError: the file is unreadable, readable by others than its owner, or no key file.
        """
        data = read_private(path)
        try:
            return cls._parse(data)
        except KeyFileError as error:
            raise KeyFileError(f"{path}: not a private key of this project: {error}") from None

    @classmethod
    def _parse(cls, data: bytes) -> "SigningKey":
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise KeyFileError("not UTF-8") from None
        if not text.startswith(_PRIVATE) or not text.endswith("\n"):
            raise KeyFileError("not the form PRIVATE+KEY+name+id+key")
        name, _, rest = text.removeprefix(_PRIVATE)[:-1].partition("+")
        key = cls(name, Ed25519PrivateKey.from_private_bytes(_key_bytes(rest.partition("+")[2])))
        if key._text() != text:
            raise KeyFileError("its key id is not that of name and key")
        return key

    def write(self, path: Path) -> None:
        """Write the key to a new file that only its owner can read. It survives a power cut once this returns.

        Raises:
            KeyFileError: the file exists, or cannot be written.
        """
        write_private(path, self._text().encode())

    @property
    def name(self) -> str:
        return self.verifier.name

    def sign(self, text: bytes) -> bytes:
        """The signature of a text, 64 bytes."""
        return self._private.sign(text)

    def _text(self) -> str:
        coded = base64.b64encode(ED25519 + self._private.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{coded}\n"

    def __repr__(self) -> str:
        return f"<SigningKey {self.name}+{self.verifier.key_id.hex()}>"

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not pickled")


class PublicKeys:
    """The keys that an auditor trusts. There are several while a log's key rotates."""

    def __init__(self, *keys: VerifierKey) -> None:
        """A set of keys.

        Raises:
            KeyFileError: a key is given twice, or two keys share name and id.
        """
        self._keys = {(key.name, key.key_id): key for key in keys}
        if len(self._keys) < len(keys):
            raise KeyFileError("holds a key twice, or two keys of one name and id")

    @classmethod
    def read(cls, path: Path) -> "PublicKeys":
        """The keys in a file, one a line. Empty lines and lines that begin with # are skipped.

        Raises:
            KeyFileError: the file is unreadable, has no key, too many, one twice, or an invalid line.
        """
        return cls._unique(read_keys(path, VerifierKey.parse), str(path))

    @classmethod
    def parse(cls, data: bytes, path: str) -> "PublicKeys":
        """The keys in the content of such a file.

        Args:
            data: the bytes.
            path: name of the file, for messages.

        Raises:
            KeyFileError: the content has no key, too many, one twice, or an invalid line.
        """
        return cls._unique(parse_keys(data, str(path), VerifierKey.parse), path)

    @classmethod
    def _unique(cls, keys: Sequence[VerifierKey], path: str) -> "PublicKeys":
        try:
            return cls(*keys)
        except KeyFileError as error:
            raise KeyFileError(f"{path}: {error}") from None

    def find(self, name: str, key_id: bytes) -> VerifierKey | None:
        """The key with that name and id, or None."""
        return self._keys.get((name, key_id))

    def __iter__(self) -> Iterator[VerifierKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)


def read_keys(path: Path, parse: Callable[[str], Key]) -> list[Key]:
    """The keys in a file, one a line. Empty lines and lines that begin with # are skipped.

    Raises:
        KeyFileError: the file is unreadable, has no key, too many, or an invalid line.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_keys(data, str(path), parse)


def parse_keys(data: bytes, path: str, parse: Callable[[str], Key]) -> list[Key]:
    """The keys in the content of such a file.

    Args:
        data: the bytes.
        path: name of the file, for messages.
        parse: reads one key.

    Raises:
        KeyFileError: the content has no key, too many, or an invalid line.
    """
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: not UTF-8") from None
    keys: list[Key] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            try:
                keys.append(parse(line.strip()))
            except KeyFileError as error:
                raise KeyFileError(f"{path}:{number}: {error}") from None
    if len(data) > MAX_FILE_BYTES or len(keys) > MAX_KEYS:
        raise KeyFileError(f"{path}: more than {MAX_KEYS} keys")
    if not keys:
        raise KeyFileError(f"{path}: holds no public key")
    return keys


def check_name(name: str) -> None:
    """Refuse an invalid signer's name.

    Raises:
        KeyFileError: the name is empty, too long, reserved for our own formats, or has spaces, plus signs or
            unprintable characters.
    """
    if not name or len(name) > MAX_NAME:
        raise KeyFileError(f"a key's name has 1 to {MAX_NAME} characters")
    if "+" in name or not name.isprintable() or any(c.isspace() for c in name):
        raise KeyFileError(f"a key's name has no spaces, plus signs or unprintable characters: {printable(name)}")
    if name.startswith("weightwarden-archive"):
        raise KeyFileError("names that begin with weightwarden-archive are taken")


def canonical_base64(text: str) -> bytes:
    """The bytes that a canonical base64 text encodes.

    Raises:
        ValueError: the text is not base64, or not in canonical form.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return data


def _key_bytes(coded: str, algorithm: bytes = ED25519, algorithm_name: str = VerifierKey.algorithm_name) -> bytes:
    try:
        data = canonical_base64(coded)
    except ValueError as error:
        raise KeyFileError(f"the key is {error}") from None
    if data[:1] != algorithm:
        raise KeyFileError(f"the key is not of the algorithm {algorithm_name}, the only one that is accepted here")
    if len(data) != 1 + KEY_BYTES:
        raise KeyFileError(f"an Ed25519 key has {KEY_BYTES} bytes, not {len(data) - 1}")
    return data[1:]
