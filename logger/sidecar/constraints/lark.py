"""Text of Lark grammars in llguidance's dialect, over the tokens of one tokenizer.

llguidance never matches a special token as text, so a marker that is one stands in a grammar as its id. Source:
https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_META = frozenset("\\.+*?()|[]{}^$#&-~/")
_ANY = "(?s:.*)"
_SPACE = r"/[ \n\r\t]{1,8}/"


class Lark:
    """A grammar under construction. The same steps make the same text."""

    def __init__(self, special_ids: Mapping[str, int]) -> None:
        """An empty grammar.

        Args:
            special_ids: id of each special token, by its text.
        """
        self._special = special_ids
        longest_first = sorted(special_ids, key=lambda text: (-len(text), text))
        self._splitter = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._rules: list[str] = []

    def text(self, start: str) -> str:
        """The grammar's text, with the expression at which it starts."""
        return "\n".join([f"start: {start}", *self._rules, ""])

    def rule(self, expression: str) -> str:
        """The name of a new rule with this expression."""
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}: {expression}")
        return name

    def literal(self, text: str) -> str:
        """The expression of a text, which is not empty."""
        return " ".join(f"<[{part}]>" if isinstance(part, int) else quoted(part) for part in self._parts(text))

    def until(self, marker: str, not_begun_by: Sequence[str] = (), *, once: str = "") -> str:
        """The expression of any text up to the first occurrence of a marker, which it contains.

        Args:
            marker: the marker.
            not_begun_by: texts with which it does not begin, after white space.
            once: end of the marker that the text does not contain elsewhere.
        """
        parts = self._parts(marker)
        outside = _beginnings(not_begun_by) + (f" & ~/{_ANY}{pattern(once)}(?s:.+)/" if once else "")
        if parts == [marker]:
            return self._lexeme(f"/{_ANY}{pattern(marker)}/{outside}", lazy=True)
        first = parts[0]
        if isinstance(first, str):
            text = self._lexeme(f"/{_ANY}{pattern(first)}/{outside}")
            del parts[0]
        else:
            text = self.free((), not_begun_by)
        return " ".join([text, *(f"<[{part}]>" if isinstance(part, int) else quoted(part) for part in parts)])

    def free(self, without: Sequence[str], not_begun_by: Sequence[str]) -> str:
        """The expression of any text, or none, without special tokens.

        Args:
            without: markers that it does not contain.
            not_begun_by: texts with which it does not begin, after white space.
        """
        plain = [marker for marker in without if self._parts(marker) == [marker]]
        outside = "".join(f" & ~/{_ANY}{pattern(marker)}{_ANY}/" for marker in plain)
        return f"{self._lexeme(f'/(?s:.+)/{outside}{_beginnings(not_begun_by)}')}?"

    def spaced(self, marker: str) -> str:
        """The expression of a marker that may follow white space."""
        if self._parts(marker) == [marker]:
            return self._lexeme(f"/\\s*{pattern(marker)}/")
        return f"{self.space()} {self.literal(marker)}"

    def space(self) -> str:
        """The expression of white space that may be missing."""
        return self._lexeme(_SPACE) + "?"

    def matching(self, expression: str) -> str:
        """The expression of a text that matches a regular expression as a whole."""
        escaped = re.sub(r"\\.|/", lambda found: "\\/" if found[0] == "/" else found[0], expression, flags=re.DOTALL)
        return self._lexeme(f"/{_on_one_line(escaped)}/")

    def json(self, schema: Mapping[str, Any] | str) -> str:
        """The expression of a JSON value that follows a schema."""
        return self.rule(f"%json {schema if isinstance(schema, str) else json.dumps(schema)}")

    def alternatives(self, expressions: Sequence[str]) -> str:
        """The expression of one of several."""
        return expressions[0] if len(expressions) == 1 else f"({' | '.join(expressions)})"

    def _lexeme(self, expression: str, *, lazy: bool = False) -> str:
        """The name of a new terminal, or of a rule that ends as early as it can."""
        name = f"{'lazy' if lazy else 'TEXT'}{len(self._rules)}"
        self._rules.append(f"{name}{'[lazy]' if lazy else ''}: {expression}")
        return name

    def _parts(self, text: str) -> list[str | int]:
        """A text as plain texts and ids of special tokens."""
        if self._splitter is None:
            return [text]
        parts: list[str | int] = []
        at = 0
        for found in self._splitter.finditer(text):
            parts += [text[at : found.start()]] if found.start() > at else []
            parts.append(self._special[found[0]])
            at = found.end()
        return [*parts, text[at:]] if at < len(text) else parts


def quoted(text: str) -> str:
    """A text as a Lark string."""
    return json.dumps(text, ensure_ascii=False)


def pattern(text: str) -> str:
    """A regular expression that matches a text alone."""
    written = "".join(f"\\{one}" if one in _META else one for one in text)
    return _on_one_line(written)


def _on_one_line(expression: str) -> str:
    """A regular expression with escapes for line ends and tabulators."""
    return expression.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _beginnings(texts: Sequence[str]) -> str:
    """The condition that a text does not begin with any of these, after white space."""
    return "".join(f" & ~/\\s*{pattern(text)}{_ANY}/" for text in texts)
