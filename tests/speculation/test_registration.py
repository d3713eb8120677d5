"""The plugin's registration: it replaces what it knows, and refuses every other engine before it starts."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from benchmarks.speculation.engine_kernels import PLUGIN

V1 = "vllm.v1.sample.rejection_sampler"
V2 = "vllm.v1.worker.gpu.spec_decode.rejection_sampler"
STANDARD = SimpleNamespace(rejection_sample_method="standard", enable_adaptive_verification=False)


class Engine:
    """Stand-ins for vLLM's modules, as the plugin imports them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, like: Callable[..., Any]) -> None:
        for name in (V1, V2):
            for end in [at for at, letter in enumerate(name) if letter == "."]:
                monkeypatch.setitem(sys.modules, name[:end], sys.modules.get(name[:end]) or ModuleType(name[:end]))
            module = ModuleType(name)
            exec(SAMPLER, module.__dict__)
            monkeypatch.setitem(sys.modules, name, module)
            sys.modules[name.rpartition(".")[0]].__dict__["rejection_sampler"] = module
        self.package, self.v1, self.v2 = sys.modules["vllm"], sys.modules[V1], sys.modules[V2]
        self.package.__dict__["__version__"] = "0.32.1+cu129"

        def rejection_sample(*arguments: Any, **named: Any) -> Any:
            raise AssertionError("the stock rule")

        rejection_sample.__dict__["__signature__"] = inspect.signature(like)
        self.stock = self.v2.__dict__["rejection_sample"] = rejection_sample


SAMPLER = """
class RejectionSampler:
    def __init__(self, sampler, spec_config=None, device=None, *, watermark_key=None):
        self.made_for = spec_config

    def _verify(self):
        return rejection_sample()
"""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, numpy_coupled: Callable[..., Any]) -> Engine:
    return Engine(monkeypatch, numpy_coupled)


def plugin() -> Any:
    return import_module("weightwarden_coupled_speculation")


def test_it_imports_nothing_of_this_project() -> None:
    for path in PLUGIN.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.split(".")[0] for name in names} & {"weightwarden", "benchmarks", "tests"}


def test_what_vllm_imports_cannot_fail_for_want_of_vllm() -> None:
    """vLLM logs an error of a plugin's import, and starts without the plugin."""
    code = "import weightwarden_coupled_speculation as plugin; plugin.register()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PLUGIN, env={"PYTHONPATH": ""}, capture_output=True, text=True, check=False)
    assert "No module named 'vllm'" in done.stderr
    assert "in register" in done.stderr


def test_it_replaces_the_rule_once(engine: Engine, numpy_coupled: Callable[..., Any]) -> None:
    plugin().register()
    construct = engine.v2.RejectionSampler.__init__
    plugin().register()
    assert engine.v2.__dict__["rejection_sample"] is numpy_coupled
    assert engine.v2.RejectionSampler.__init__ is construct
    assert engine.v2.RejectionSampler("sampler", STANDARD, "cpu").made_for is STANDARD


@pytest.mark.parametrize("version", ["0.31.2", "0.33.0", "0.320.0", "1.0.32.0", "dev"])
def test_other_versions_of_vllm_are_refused(engine: Engine, version: str) -> None:
    engine.package.__dict__["__version__"] = version
    with pytest.raises(plugin().CoupledSpeculationError, match=rf"compared with vLLM 0\.32\.x, and this is {version}"):
        plugin().register()
    assert engine.v2.__dict__["rejection_sample"] is engine.stock


def test_a_rule_with_other_arguments_is_refused(engine: Engine) -> None:
    engine.v2.__dict__["rejection_sample"] = lambda target_logits, draft_logits: None
    with pytest.raises(plugin().CoupledSpeculationError, match="rejection_sample takes"):
        plugin().register()


def test_a_sampler_that_would_not_call_the_rule_is_refused(engine: Engine) -> None:
    engine.v2.RejectionSampler._verify = lambda self: None
    with pytest.raises(plugin().CoupledSpeculationError, match="does not call the rejection_sample that is replaced"):
        plugin().register()


@pytest.mark.parametrize("method", ["block", "synthetic"])
def test_other_methods_of_rejection_sampling_are_refused(engine: Engine, method: str) -> None:
    plugin().register()
    config = SimpleNamespace(rejection_sample_method=method, enable_adaptive_verification=False)
    with pytest.raises(plugin().CoupledSpeculationError, match=f"'standard', and this server's is '{method}'"):
        engine.v2.RejectionSampler("sampler", config, "cpu")


def test_adaptive_verification_and_watermarks_are_refused(engine: Engine) -> None:
    plugin().register()
    adaptive = SimpleNamespace(rejection_sample_method="standard", enable_adaptive_verification=True)
    with pytest.raises(plugin().CoupledSpeculationError, match="enable_adaptive_verification"):
        engine.v2.RejectionSampler("sampler", adaptive, device="cpu")
    with pytest.raises(plugin().CoupledSpeculationError, match="watermarks"):
        engine.v2.RejectionSampler("sampler", STANDARD, "cpu", watermark_key=7)


def test_the_v1_runner_is_refused_where_it_speculates(engine: Engine) -> None:
    plugin().register()
    with pytest.raises(plugin().CoupledSpeculationError, match="needs vLLM's V2 model runner"):
        engine.v1.RejectionSampler("sampler", STANDARD, "cpu")
