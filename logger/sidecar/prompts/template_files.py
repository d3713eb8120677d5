"""Chat template files of a model folder, searched in vLLM's order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.config import read_json
from weightwarden.text import first_line, printable

MAX_TEMPLATE_BYTES = 2**20
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True, kw_only=True)
class TemplateFile:
    """A chat template and its file.

    Attributes:
        path: the file.
        text: the template, or None when the folder has no usable one.
        lacking: a sentence that explains why there is none; empty when there is one.
    """

    path: Path
    text: str | None = None
    lacking: str = ""


def find_template(folder: Path, override: Path | None = None, *, tools: bool = False) -> TemplateFile:
    """The chat template of a model folder.

    A processor's template comes before the tokenizer's, and separate files before tokenizer_config.json. Chats with
    tools take the tokenizer's alone, and of named templates `tool_use` before `default`.

    Args:
        folder: the model folder.
        override: file with another template.
        tools: True for chats with tools.

    Raises:
        ModelError: a file cannot be read, or holds no template.
    """
    if override is not None:
        return TemplateFile(path=override, text=_read(override))
    for path, templates in _places(folder, processors=not tools):
        if isinstance(templates, str):
            if templates:
                return TemplateFile(path=path, text=_short(path, templates))
        elif (name := "tool_use" if tools and "tool_use" in templates else "default") in templates:
            return TemplateFile(path=path, text=_short(path, templates[name]))
        elif templates:
            names = ", ".join(printable(name) for name in sorted(templates))
            lacking = f"{path}: chat_template: named templates ({names}) and none of them `default`"
            return TemplateFile(path=path, lacking=lacking)
    path = folder / "tokenizer_config.json"
    return TemplateFile(path=path, lacking=f"{folder}: neither chat_template.jinja nor {path.name} holds a template")


def _places(folder: Path, *, processors: bool) -> Iterator[tuple[Path, str | Mapping[str, str]]]:
    """The content of each existing place: one template, or templates by name."""
    single, many = folder / "chat_template.jinja", sorted((folder / "additional_chat_templates").glob("*.jinja"))
    legacy, config = folder / "chat_template.json", folder / "tokenizer_config.json"
    if processors and any((folder / name).exists() for name in _PROCESSORS):
        if (processor := folder / "processor_config.json").exists():
            yield processor, _templates(processor)
        if legacy.exists():
            yield legacy, _templates(legacy)
    if single.exists() or many:
        default = {"default": _read(single)} if single.exists() else {}
        yield single if single.exists() else many[0].parent, default | {path.stem: _read(path) for path in many}
    elif config.exists():
        yield config, _templates(config)


def _templates(path: Path) -> str | dict[str, str]:
    """The field `chat_template` of a JSON file: one template, or templates by name; empty if it is missing."""
    value = read_json(path).get("chat_template")
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        value = {one.get("name"): one.get("template") for one in value}
    if not isinstance(value, dict) or not all(isinstance(one, str) for item in value.items() for one in item):
        raise ModelError(f"{path}: chat_template: neither a template nor templates by name")
    return value


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {first_line(error)}") from None
    return _short(path, text)


def _short(path: Path, text: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEMPLATE_BYTES:
        raise ModelError(f"{path}: a chat template of more than {MAX_TEMPLATE_BYTES} bytes")
    return text
