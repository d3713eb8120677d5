"""The content format of a chat template: a message's content as one text, or as a list of parts.

Templates do not declare it. vLLM guesses it from the template's syntax tree, and passes all contents in that format.
This file makes the same guess (vLLM 0.32, `vllm/renderers/hf.py`, `_detect_content_format`): a template that loops
over the content of a message takes parts.
"""

from jinja2 import nodes


def takes_parts(template: nodes.Template) -> bool:
    """True if a template takes content as a list of parts, False if it takes one text.

    A loop or an assignment that unpacks its value ends the guess: the template takes texts, as in vLLM.
    """
    try:
        return _loops_over_content(template)
    except _Unpacked:
        return False


class _Unpacked(Exception):
    """A loop or an assignment with more than one target name."""


def _loops_over_content(template: nodes.Template) -> bool:
    messages = _messages(template)
    in_macros, parameters = _macro_loops(template, messages)
    for loop in template.find_all(nodes.For):
        over = loop.iter
        found = any(_reads(over, name, "content") for name in messages)
        if not found and isinstance(over, nodes.Name):
            found = over.name in parameters.get(id(loop), ()) or (over.name == "content" and id(loop) not in in_macros)
        if found:
            _name(loop.target)
            return True
    return False


def _messages(template: nodes.Template) -> list[str]:
    """The names that stand for one message: targets of loops over `messages`, or over a variable assigned from it."""
    sources = ["messages"]
    for source in sources:  # the list grows during the loop
        for assignment in template.find_all(nodes.Assign):
            if _reads(assignment.node, source) and (name := _name(assignment.target)) not in sources:
                sources.append(name)
    loops = template.find_all(nodes.For)
    return [_name(loop.target) for loop in loops if any(_reads(loop.iter, source) for source in sources)]


def _macro_loops(template: nodes.Template, messages: list[str]) -> tuple[set[int], dict[int, set[str]]]:
    """The loops inside macros, each with the macro parameters that receive a message's content."""
    calls = list(template.find_all(nodes.Call))
    loops: set[int] = set()
    parameters: dict[int, set[str]] = {}
    for macro in template.find_all(nodes.Macro):
        names = [argument.name for argument in macro.args]
        given = {
            name
            for call in calls
            if isinstance(call.node, nodes.Name) and call.node.name == macro.name
            for name, value in _arguments(call, names)
            if any(_reads(value, message, "content") for message in messages)
        }
        for loop in macro.find_all(nodes.For):
            loops.add(id(loop))
            if given:
                parameters[id(loop)] = given
    return loops, parameters


def _arguments(call: nodes.Call, names: list[str]) -> list[tuple[str, nodes.Expr]]:
    """The arguments of a call, each with its parameter's name."""
    keywords = [(keyword.key, keyword.value) for keyword in call.kwargs if keyword.key in names]
    return [*zip(names, call.args, strict=False), *keywords]


def _reads(node: nodes.Node | None, name: str, field: str | None = None) -> bool:
    """True if an expression is a variable or a field of it, after any filters, tests and slices."""
    while isinstance(node, nodes.Filter | nodes.Test) or (
        isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)
    ):
        node = node.node
    if field is None:
        return _is_variable(node, name)
    if isinstance(node, nodes.Getitem):
        return _is_variable(node.node, name) and isinstance(node.arg, nodes.Const) and node.arg.value == field
    return isinstance(node, nodes.Getattr) and node.attr == field and _is_variable(node.node, name)


def _is_variable(node: nodes.Node | None, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.ctx == "load" and node.name == name


def _name(target: nodes.Node) -> str:
    if not isinstance(target, nodes.Name):
        raise _Unpacked
    return target.name
