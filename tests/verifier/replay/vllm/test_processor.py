"""Processor classes by their flags, and the settings of a vLLM CPU server on each."""

import json
import os
from pathlib import Path

import pytest

from tests.verifier.replay.vllm.policies import exact_policy
from weightwarden.verifier.replay.vllm.command import fresh_cpu_command, server_command
from weightwarden.verifier.replay.vllm.processor import (
    CAPS,
    Exactness,
    InstructionSet,
    Processor,
    processor_of,
    settings_for,
    this_processor,
)

AVX512 = "avx512f avx512dq avx512bw avx512vl"
FLAGS = {
    "sse4_2 popcnt": InstructionSet.OTHER,
    "sse4_2 avx avx2 fma": InstructionSet.AVX2,
    "avx2 avx512f avx512cd": InstructionSet.AVX2,  # Knights Landing: torch asks for vl, bw and dq, too
    f"avx2 {AVX512}": InstructionSet.AVX512,
    f"avx2 {AVX512} avx512_bf16": InstructionSet.AVX512,
    f"avx2 {AVX512} avx512_bf16 amx_bf16 amx_tile amx_int8": InstructionSet.AMX,
    "avx2 amx_tile": InstructionSet.AMX,  # vLLM takes its AMX kernels by this flag alone
}
CHOICES = {
    InstructionSet.AVX2: ("bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    InstructionSet.AVX512: ("bfloat16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    InstructionSet.AMX: ("float32", {}),
}


def cpuinfo(flags: str, name: str = "A Processor") -> str:
    one = f"vendor_id\t: GenuineIntel\nmodel name\t: {name}\nflags\t\t: {flags}\nbugs\t\t:\n"
    return f"processor\t: 0\n{one}\nprocessor\t: 1\n{one}"


def of(instructions: InstructionSet) -> Processor:
    return Processor(name="A Processor", instructions=instructions)


@pytest.mark.parametrize(("flags", "instructions"), FLAGS.items(), ids=list(FLAGS))
def test_a_processor_is_known_by_its_flags(flags: str, instructions: InstructionSet) -> None:
    found = processor_of(cpuinfo(flags), {})
    assert found == Processor(name="A Processor", instructions=instructions)


def test_without_a_description_the_processor_is_another() -> None:
    assert processor_of("", {}) == Processor(name="unknown", instructions=InstructionSet.OTHER)
    assert processor_of(cpuinfo("fp asimd", "Neoverse"), {}).instructions is InstructionSet.OTHER


@pytest.mark.parametrize("cap", [("ONEDNN_MAX_CPU_ISA", "AVX2"), ("ATEN_CPU_CAPABILITY", "avx2")])
def test_a_cap_of_the_environment_is_said_and_leaves_the_class(cap: tuple[str, str]) -> None:
    name, value = cap
    found = processor_of(cpuinfo(f"avx2 {AVX512} amx_tile"), {name: value, "OTHER": "x"})
    assert found.instructions is InstructionSet.AMX
    assert f"emulating a narrower one by {name}={value}" in str(found)


@pytest.mark.parametrize("value", ["", "ALL", "DEFAULT", "all"])
def test_what_caps_nothing_is_no_cap(value: str) -> None:
    assert processor_of(cpuinfo("avx2"), {"ONEDNN_MAX_CPU_ISA": value}).caps == {}


@pytest.mark.parametrize("instructions", CHOICES)
def test_the_choice_of_each_class_is_exact_as_far_as_is_known(instructions: InstructionSet) -> None:
    choice = settings_for(instructions)
    assert (choice.dtype, dict(choice.environment)) == CHOICES[instructions]
    assert choice.exactness is Exactness.MEASURED


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", None])
@pytest.mark.parametrize("instructions", InstructionSet)
def test_a_dtype_is_kept_and_nothing_is_capped_with_amx(instructions: InstructionSet, dtype: str | None) -> None:
    settings = settings_for(instructions, dtype)
    assert dtype is None or settings.dtype == dtype
    if instructions is InstructionSet.AMX:
        assert not settings.environment.keys() & set(CAPS)


@pytest.mark.parametrize("instructions", CHOICES)
def test_a_servers_command_keeps_the_policys_dtype_and_takes_the_environment_of_the_processor(
    instructions: InstructionSet,
) -> None:
    command = server_command(exact_policy("bfloat16"), Path("m"), processor=of(instructions), max_model_len=None)
    shell = command.shell(8000)
    assert "--dtype bfloat16" in shell
    capped = command.environment.get("ONEDNN_MAX_CPU_ISA")
    assert capped == (None if instructions is InstructionSet.AMX else "AVX2")
    assert set(command.unset) == set(CAPS) - command.environment.keys()
    assert all(f"-u {name} " in shell for name in command.unset)
    anew = "verify calibrate HONEST... --exact --replayer vllm --dtype float32"
    assert (anew in shell) == (instructions is InstructionSet.AMX)
    assert ("measured not exact" in shell) == (instructions is InstructionSet.AMX)


def test_a_float32_policy_is_served_in_float32_everywhere() -> None:
    for instructions in CHOICES:
        command = server_command(exact_policy("float32"), Path("m"), processor=of(instructions), max_model_len=None)
        assert command.arguments[command.arguments.index("--dtype") + 1] == "float32"
        assert not any("calibrate" in remark for remark in command.remarks)


@pytest.mark.parametrize("instructions", CHOICES)
def test_a_first_policys_server_has_dtype_and_environment_by_the_processor(instructions: InstructionSet) -> None:
    command = fresh_cpu_command(Path("m"), processor=of(instructions), max_model_len=4096)
    dtype, environment = CHOICES[instructions]
    assert command.arguments[command.arguments.index("--dtype") + 1] == dtype
    assert dict(command.environment).items() >= environment.items()
    assert f"calibrate with --exact --dtype {dtype}" in command.shell(8000)


def test_this_machines_processor_is_read() -> None:
    found = this_processor({})
    assert found.name
    assert isinstance(json.dumps(str(found)), str)
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    assert (found.instructions is InstructionSet.AMX) == ("amx_tile" in text.split())
    assert this_processor(os.environ).instructions is found.instructions
