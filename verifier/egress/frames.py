"""The events of a capture: frames, and the losses that the capture itself admits."""

from typing import NamedTuple


class Frame(NamedTuple):
    """A frame of the link.

    Attributes:
        time: moment of the capture, seconds since 1970.
        data: bytes that were captured, from the destination address on.
        length: bytes on the wire; more than those captured if the frame was cut.
        file: name of the capture file.
        number: place of the frame in its file, from 1 on.
    """

    time: float
    data: bytes
    length: int
    file: str
    number: int


class Loss(NamedTuple):
    """Frames that a capture admits to have lost.

    Attributes:
        frames: number of frames.
        what: the counter that tells of them.
        file: name of the capture file.
    """

    frames: int
    what: str
    file: str


Event = Frame | Loss
