"""Counts of frames by class, each with its first example."""

from dataclasses import dataclass

from weightwarden.verifier.egress.frames import Frame


@dataclass(slots=True)
class FrameCount:
    """Frames of one class.

    Attributes:
        frames: number of frames.
        bytes: bytes of the frames on the wire.
        example: place of the first of them.
    """

    frames: int = 0
    bytes: int = 0
    example: str = ""

    def add(self, frame: Frame) -> None:
        """Count a frame."""
        if not self.frames:
            self.example = place_of(frame)
        self.frames += 1
        self.bytes += frame.length

    def merge(self, other: "FrameCount") -> None:
        """Count the frames of another count."""
        if not self.frames:
            self.example = other.example
        self.frames += other.frames
        self.bytes += other.bytes


class FrameCounts:
    """Counts of frames by class."""

    def __init__(self) -> None:
        self.by_class: dict[str, FrameCount] = {}

    def add(self, kind: str, frame: Frame) -> None:
        """Count a frame."""
        count = self.by_class.get(kind)
        if count is None:
            count = self.by_class[kind] = FrameCount()
        count.add(frame)

    def add_count(self, kind: str, other: FrameCount) -> None:
        """Count several frames at once."""
        if other.frames:
            self.by_class.setdefault(kind, FrameCount()).merge(other)

    def copy(self) -> "FrameCounts":
        """Separate counts of the same frames."""
        new = FrameCounts()
        for kind, count in self.by_class.items():
            new.add_count(kind, count)
        return new


def place_of(frame: Frame) -> str:
    """The place of a frame, for a person."""
    return f"{frame.file}, frame {frame.number}"
