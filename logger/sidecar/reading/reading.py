"""The reading of one answer: its text, and the parts that were found."""

from collections.abc import Collection

from weightwarden.logger.sidecar.reading.cursor import Cursor, CutCall, MalformedCall, Steps
from weightwarden.logger.sidecar.reading.markers import Markers, search_for
from weightwarden.logger.sidecar.reading.parts import (
    AnswerPart,
    CallArguments,
    CallBegin,
    ContentText,
    ReasoningText,
    joined,
)


class Reading:
    """One answer under reading, which a family's reader drives.

    White space that separates the parts belongs to none of them: around the reasoning, before the content that follows
    it, and, if the family's form has separators, between content and calls.

    A call whose text is complete up to its name has begun. Whatever follows up to the call's end marker are its
    arguments, as the model wrote them, be they JSON or not; an answer that ends before leaves them open. So the client
    gets them while they grow. With `whole_calls`, a call begins once it is complete, and stays text otherwise.

    Attributes:
        cursor: the text.
        parts: parts that were found and not taken yet.
        whole_calls: whether a call begins only once it is complete.
    """

    def __init__(self, *, whole_calls: bool = False, separators: bool = False, dropped: Collection[str] = ()) -> None:
        """The reading of an answer, at its beginning.

        Args:
            whole_calls: whether a call begins only once it is complete.
            separators: whether white space between content and a call belongs to neither.
            dropped: texts of special tokens that are no content.
        """
        self.cursor = Cursor()
        self.parts: list[AnswerPart] = []
        self.whole_calls = whole_calls
        self._separators, self._dropped = separators, frozenset(dropped)
        self._searches: dict[tuple[str, ...], Markers] = {}
        self._calls = 0
        self._waiting: list[AnswerPart] | None = None  # of a call that is not complete
        self._space: list[str] = []  # at the end of the content or reasoning so far
        self._written = False  # whether text that is no white space has come since the last call or the reasoning
        self._reasons = self._after_reasoning = False
        self._marker = ""  # the one that was found last

    def take_parts(self) -> list[AnswerPart]:
        """The parts found since the last time; adjacent pieces of one kind are one piece."""
        parts, self.parts = self.parts, []
        return joined(parts) if len(parts) > 1 else parts

    def reasoning_begins(self) -> None:
        """The beginning of the reasoning, or of more of it after other parts."""
        self._space.clear()
        self._written, self._reasons = False, True

    def reasoning(self, text: str) -> None:
        """Text of the reasoning, without its markers."""
        if body := self._without_outer_space(text, leading=False):
            self.parts.append(ReasoningText(body))

    def reasoning_ends(self) -> None:
        """The end of a reasoning: white space at its end, and before what follows, belongs to no part."""
        self._space.clear()
        self._written, self._reasons, self._after_reasoning = False, False, True

    def content(self, text: str) -> None:
        """Text of the content."""
        if body := self._without_outer_space(text, leading=not self._after_reasoning):
            self.parts.append(ContentText(body))

    def content_until(self, markers: Collection[str]) -> Steps[str | None]:
        """The first of the markers, consumed and held, or None at the end. The text before it is content."""
        marker = yield from self.content_before(markers)
        if marker is not None:
            self._marker = marker
            self.cursor.hold()
            self.cursor.take(len(marker))
        return marker

    def content_before(self, markers: Collection[str]) -> Steps[str | None]:
        """The first of the markers, not consumed, or None at the end. The text before it is content."""
        while True:
            marker = yield from self.cursor.until(self._search(markers), self.content)
            if marker is None or marker in markers:
                return marker
            self.cursor.take(len(marker))

    def reasoning_before(self, markers: Collection[str]) -> Steps[str | None]:
        """The first of the markers, not consumed, or None at the end. The text before it is reasoning, markers too."""
        return (yield from self.cursor.until(markers, self.reasoning, reasoning=True))

    def calls(self, read: Steps[None], *, cut_is_text: bool = True) -> Steps[None]:
        """Reading of calls whose first marker is held.

        Where it fails, the text that is held is content. If the end of the answer cuts it, it is content only before
        any call, and if it is more than the marker.

        Args:
            read: the reading.
            cut_is_text: whether what the end of the answer cuts can be content at all.
        """
        try:
            yield from read
        except MalformedCall as fault:
            self._waiting = None
            text = self.cursor.release()
            if isinstance(fault, CutCall) and (self._calls or not cut_is_text or text.strip() == self._marker):
                return
            self.content(text)
        else:
            self.cursor.release()

    def closing(self, *literals: str) -> Steps[None]:
        """The markup after a call, consumed with the white space before it, if it follows; other text is content.

        Raises:
            MalformedCall: the end of the answer cuts it.
        """
        yield from self.cursor.space()
        try:
            yield from self.cursor.choose(*literals)
        except CutCall:
            raise
        except MalformedCall:
            self.content(self.cursor.release())
        else:
            self.cursor.release()

    def begin_call(self, name: str, own_id: str | None = None) -> None:
        """A call of which envelope and name are certain."""
        part = CallBegin(self._calls, name, own_id)
        if self.whole_calls:
            self._waiting = [part]
            return
        self.settle()
        self._leave_content()
        self.parts.append(part)
        self._calls += 1

    def settle(self) -> None:
        """The markup of a call that has begun, up to here, is read: it is no content if a fault follows."""
        if not self.whole_calls:
            self.cursor.release()
            self.cursor.hold()

    def arguments(self, text: str) -> None:
        """Text of the arguments of the call that has begun."""
        if not text:
            return
        if self._waiting is not None:
            self._waiting.append(CallArguments(self._calls, text))
        else:
            self.parts.append(CallArguments(self._calls - 1, text))

    def end_call(self) -> None:
        """The end of a complete call. Text that is held is markup."""
        self.cursor.release()
        self.cursor.hold()
        if self._waiting is not None:
            self._leave_content()
            self.parts += self._waiting
            self._waiting = None
            self._calls += 1

    def json_arguments(self, ends: Collection[str]) -> Steps[bool]:
        """True if the arguments of the call that has begun are a JSON value; the text up to its end otherwise.

        Args:
            ends: markers of which the first ends faulty arguments.

        Raises:
            MalformedCall: the value is faulty, and no call begins before it is complete.
        """
        complete = yield from self.cursor.json(self.arguments)
        if not complete:
            yield from self.faulty_arguments(ends)
        return complete

    def tagged_arguments(self, read: Steps[None], ends: Collection[str]) -> Steps[None]:
        """The arguments of the call that has begun, of which a generator reads the tags; faulty ones as they are.

        Args:
            read: the reading of the tags.
            ends: markers of which the first ends faulty arguments.

        Raises:
            MalformedCall: the tags are faulty, and no call begins before it is complete; or the answer ends.
        """
        try:
            yield from read
        except MalformedCall as fault:
            if self.whole_calls or isinstance(fault, CutCall):
                raise
            self.arguments(self.cursor.release())
            self.cursor.hold()
            yield from self.faulty_arguments(ends)

    def faulty_arguments(self, ends: Collection[str]) -> Steps[None]:
        """The arguments of the call that has begun, from a fault on, up to its end marker or the end of the answer.

        Raises:
            MalformedCall: no call begins before it is complete.
        """
        if self.whole_calls:
            raise self.cursor.fault()
        yield from self.cursor.until(ends, self.arguments)
        self.settle()

    def end(self) -> None:
        """The end of the answer. White space at its end is content, except after reasoning or a call."""
        space = "".join(self._space)
        if space and not self._reasons and not self._after_reasoning and (self._written or not self._calls):
            self.parts.append(ContentText(space))
        self._space.clear()

    def _search(self, markers: Collection[str]) -> Markers:
        """The search for markers and for special tokens that are dropped."""
        key = tuple(markers)
        if key not in self._searches:
            self._searches[key] = search_for(self._dropped.union(markers))
        return self._searches[key]

    def _without_outer_space(self, text: str, *, leading: bool) -> str:
        """The text after the white space that was kept back before it. White space at its own end is kept back."""
        body = text.rstrip()
        if not body:
            self._space.append(text)
            return ""
        before, self._space = self._space, [text[len(body) :]]
        body = "".join((*before, body)) if self._written or leading else body.lstrip()
        self._written, self._after_reasoning = True, False
        return body

    def _leave_content(self) -> None:
        """The end of the content before a call."""
        space = "".join(self._space)
        self._space.clear()
        if space and self._written and not self._separators:
            self.parts.append(ContentText(space))
        self._written = self._after_reasoning = False
