"""Processor classes of vLLM's CPU server, and the dtype and environment with which its replay is exact on each.

vLLM 0.32 on x86 chooses its kernels by the processor's flags (`vllm/platforms/cpu.py: import_kernels`,
`model_executor/layers/utils.py: check_cpu_sgl_kernel`, `v1/attention/backends/cpu_attn.py: _get_attn_isa`), and oneDNN
below it by the flags and `ONEDNN_MAX_CPU_ISA`. Some of these kernels round a request's sums differently when other
requests are in the batch. docs/exact-replay.md has the measurements behind the table here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from weightwarden.text import printable

ONEDNN_CAP = "ONEDNN_MAX_CPU_ISA"
CAPS = (ONEDNN_CAP, "ATEN_CPU_CAPABILITY")
"""Environment variables that limit oneDNN and torch to fewer instructions than the processor has."""
_NO_CAP = ("", "ALL", "DEFAULT")
_AVX512_FLAGS = frozenset({"avx512f", "avx512vl", "avx512bw", "avx512dq"})


class InstructionSet(StrEnum):
    """The widest instructions of a processor for which vLLM or oneDNN has separate kernels."""

    OTHER = "other"
    AVX2 = "AVX2"
    AVX512 = "AVX-512"
    AMX = "AMX"


class Exactness(StrEnum):
    """Knowledge about exact replay with a dtype on a class of processors."""

    MEASURED = "measured exact"
    UNKNOWN = "not measured"
    REFUTED = "measured not exact"


@dataclass(frozen=True, kw_only=True)
class Processor:
    """A machine's processor.

    Attributes:
        name: the model's name, from the system.
        instructions: its class.
        caps: variables of `CAPS` that are set, and restrict libraries to a part of the instructions.
    """

    name: str
    instructions: InstructionSet
    caps: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        capped = "".join(f", emulating a narrower one by {name}={value}" for name, value in self.caps.items())
        return f"{self.name} ({self.instructions}{capped})"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Settings of a CPU server for exact replay.

    Attributes:
        dtype: dtype of the model (`--dtype`).
        environment: variables to set. Other variables of `CAPS` must not be set.
        exactness: knowledge about exact replay with these settings.
    """

    dtype: str
    environment: Mapping[str, str]
    exactness: Exactness


_WITHOUT_WIDER_KERNELS = {ONEDNN_CAP: "AVX2"}
_SETTINGS: dict[InstructionSet, tuple[ServerSettings, ...]] = {
    InstructionSet.AVX2: (
        ServerSettings(dtype="bfloat16", environment=_WITHOUT_WIDER_KERNELS, exactness=Exactness.MEASURED),
        ServerSettings(dtype="float32", environment={}, exactness=Exactness.UNKNOWN),
    ),
    InstructionSet.AVX512: (
        ServerSettings(dtype="bfloat16", environment=_WITHOUT_WIDER_KERNELS, exactness=Exactness.MEASURED),
        ServerSettings(dtype="float32", environment={}, exactness=Exactness.UNKNOWN),
    ),
    InstructionSet.AMX: (
        ServerSettings(dtype="float32", environment={}, exactness=Exactness.MEASURED),
        ServerSettings(dtype="bfloat16", environment={}, exactness=Exactness.REFUTED),
    ),
    InstructionSet.OTHER: (ServerSettings(dtype="float32", environment={}, exactness=Exactness.UNKNOWN),),
}
"""Settings by class; the first of each class is the default. With AMX and bfloat16 any cap below AMX ends the server at
its start: vLLM takes its AMX kernels by the processor's flags, and oneDNN then refuses them.
"""


def settings_for(instructions: InstructionSet, dtype: str | None = None) -> ServerSettings:
    """The settings for exact replay on a class of processors; with a dtype, the settings that keep it."""
    known = _SETTINGS[instructions]
    if dtype is None:
        return known[0]
    kept = next((settings for settings in known if settings.dtype == dtype), None)
    return kept or ServerSettings(dtype=dtype, environment={}, exactness=Exactness.UNKNOWN)


def processor_of(cpuinfo: str, environment: Mapping[str, str]) -> Processor:
    """The processor that the text of /proc/cpuinfo describes, under an environment's caps."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    if "amx_tile" in flags:
        instructions = InstructionSet.AMX
    elif flags >= _AVX512_FLAGS:
        instructions = InstructionSet.AVX512
    else:
        instructions = InstructionSet.AVX2 if "avx2" in flags else InstructionSet.OTHER
    caps = {name: environment[name] for name in CAPS if environment.get(name, "").upper() not in _NO_CAP}
    return Processor(name=printable(fields.get("model name", "unknown")), instructions=instructions, caps=caps)


def this_processor(environment: Mapping[str, str]) -> Processor:
    """This machine's processor under an environment's caps; `OTHER` where the system does not describe it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return processor_of(text, environment)
