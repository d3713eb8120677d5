"""The sampling kernels of vLLM's V2 model runner, from the files of its wheel, without the rest of vLLM.

The kernels are Triton's. They run on a GPU, or on a CPU in Triton's interpreter (TRITON_INTERPRET=1 before Triton is
imported). vLLM's packages import much more than kernels, so they are replaced by empty ones while the files load.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.repository import ROOT

PLUGIN = ROOT / "examples" / "coupled-speculation"
_EMPTIED = ("vllm", "vllm.v1.watermarking", "vllm.v1.watermarking.prfs", "vllm.v1.worker.gpu.spec_decode")


@dataclass(frozen=True, kw_only=True)
class EngineKernels:
    """Functions of vLLM's V2 model runner, and the plugin's.

    Attributes:
        gumbel_sample: the seeded draw of every row.
        stock: vLLM's `rejection_sample`.
        coupled: the plugin's, with the same arguments.
    """

    gumbel_sample: Callable[..., Any]
    stock: Callable[..., Any]
    coupled: Callable[..., Any]

    @classmethod
    def load(cls, sources: Path) -> "EngineKernels":
        """The functions of the package `vllm` in that folder; needs torch and Triton.

        Raises:
            ImportError: Triton is missing, or the folder lacks a file.
        """
        with _only_kernels(sources), _importable(PLUGIN):
            gumbel = import_module("vllm.v1.worker.gpu.sample.gumbel")
            rejection = import_module("vllm.v1.worker.gpu.spec_decode.rejection_sampler_utils")
            plugin = import_module("weightwarden_coupled_speculation.acceptance")
        return cls(
            gumbel_sample=gumbel.gumbel_sample,
            stock=rejection.rejection_sample,
            coupled=plugin.coupled_rejection_sample,
        )


@contextmanager
def _only_kernels(sources: Path) -> Iterator[None]:
    import triton
    import triton.language as tl
    from triton.language.extra import libdevice

    stubs = {name: ModuleType(name) for name in (*_EMPTIED, "vllm.triton_utils")}
    for name in _EMPTIED:
        stubs[name].__path__ = [str(sources.joinpath(*name.split(".")[1:]))]
    stubs["vllm.triton_utils"].__dict__.update(triton=triton, tl=tl, tldevice=libdevice, HAS_TRITON=True)
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
            del sys.modules[name]


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
