"""The runbook: what to do for each kind of incident. `python -m` of this module prints the page of the documents."""

import html
import re

from weightwarden.verifier.server.alerting.incident_kinds import CONCERNS, KINDS, Concern

ABOUT: dict[Concern, str] = {
    "evidence": "Evidence against the inference server",
    "log": "Integrity of the log",
    "operation": "Operation of the service",
}
INTRODUCTION = (
    "What to do when the [verification server](verification-server.md) reports an incident, by its kind. The server"
    " serves the same page at `/runbook`. Incidents of three concerns look different in the dashboard: evidence against"
    " the inference server, integrity of the log, and operation of the service."
)
_WIDTH = 120
_CODE = re.compile(r"`([^`]+)`")


def page() -> str:
    """The page of the documents, Markdown: a heading for each kind, whose anchor is the kind."""
    lines = ["# Runbook", "", *_wrapped(INTRODUCTION)]
    for concern in reversed(CONCERNS):
        lines += ["", f"## {ABOUT[concern]}"]
        for name, kind in KINDS.items():
            if kind.concern == concern:
                lines += ["", f"### {name}", "", *_wrapped(f"**{kind.title}.** {kind.explanation}"), ""]
                for number, step in enumerate(kind.steps, 1):
                    first, *others = _wrapped(step, _WIDTH - 3)
                    lines += [f"{number}. {first}", *(f"   {line}" for line in others)]
    return "\n".join(lines) + "\n"


def served_page() -> str:
    """The page that the verification server serves, HTML. The anchors are those of `page`."""
    parts = []
    for concern in reversed(CONCERNS):
        parts.append(f"<h2>{html.escape(ABOUT[concern])}</h2>")
        for name, kind in KINDS.items():
            if kind.concern == concern:
                steps = "".join(f"<li>{_with_code(step)}</li>" for step in kind.steps)
                parts.append(
                    f'<section id="{name}"><h3>{html.escape(kind.title)} <code>{name}</code></h3>'
                    f"<p>{_with_code(kind.explanation)}</p><ol>{steps}</ol></section>"
                )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<title>Runbook: weightwarden</title>\n'
        '<link rel="icon" href="data:,">\n<link rel="stylesheet" href="dashboard/style.css">\n'
        '<link rel="stylesheet" href="dashboard/runbook.css">\n</head>\n<body>\n<main class="runbook">\n'
        '<p><a href="./">Back to the dashboard</a></p>\n<h1>Runbook</h1>\n' + "\n".join(parts) + "\n</main>\n</body>\n"
        "</html>\n"
    )


def _with_code(text: str) -> str:
    """Text as HTML; what is between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text, quote=False))


def _wrapped(text: str, width: int = _WIDTH) -> list[str]:
    """Lines of a paragraph. Spaces inside of code and of links do not break."""
    words = re.findall(r"(?:`[^`]*`|\[[^\]]*\]\([^)]*\)|\S)+", text)
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return lines


if __name__ == "__main__":
    print(page(), end="")
