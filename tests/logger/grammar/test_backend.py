"""The grammar backend as an operator names it."""

import pytest

from weightwarden.logger.grammar.backend import BackendRefused, GrammarBackend


@pytest.mark.parametrize("version", ["1.7.6", "1.9", "2", "1.7.6rc1", "1.7.6.post1+cpu"])
def test_guidance_with_a_version_is_accepted(version: str) -> None:
    backend = GrammarBackend.parse(f"guidance=={version}")
    assert str(backend) == f"guidance=={version}"
    grammar = backend.grammar("regex", "a")
    assert (grammar.backend, grammar.version, grammar.kind, grammar.text) == ("guidance", version, "regex", "a")


@pytest.mark.parametrize(
    "text",
    [
        *("guidance", "guidance==", "guidance==x", "guidance=1.7.6", "Guidance==1.7.6", "guidance==1.7.6 ", "==1.7.6"),
        *("", "guidance==" + "1" * 65, "guidance==1.7.6\n", "guidance==\u0661", "llguidance==1.7.6", "guidance==1..2"),
    ],
)
def test_anything_else_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(BackendRefused, match=r"not guidance==VERSION, with the version of llguidance on the server"):
        GrammarBackend.parse(text)


@pytest.mark.parametrize("name", ["xgrammar", "xgrammar==0.2.8", "outlines==1", "lm-format-enforcer==0.11.3", "auto"])
def test_other_backends_are_refused_by_name_with_the_reason(name: str) -> None:
    with pytest.raises(BackendRefused, match=r"cannot be verified: .*; pin the server to guidance") as caught:
        GrammarBackend.parse(name)
    assert str(caught.value).startswith(name.partition("==")[0] + ": ")
