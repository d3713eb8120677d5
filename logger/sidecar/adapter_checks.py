"""The checks of low-rank adapters for `sidecar doctor`: their folders, and that the server serves them."""

import shlex
from collections.abc import Collection

from weightwarden.logger.doctor.finding import Finding, fault, ok, warning
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.adapter import AdapterFiles, read_adapters, vllm_arguments
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.startup import names_adapters
from weightwarden.text import printable

_SHOWN = 3
"""Number of missing adapters that a finding names."""


def check_adapters(settings: Settings) -> tuple[dict[str, AdapterFiles], list[Finding]]:
    """The adapters by name, and the checks of their folders. Without adapters there is nothing to check."""
    check = "adapters"
    if not (settings.adapters or settings.adapter_folders):
        return {}, []
    try:
        found = read_adapters(settings.adapters, settings.adapter_folders)
    except ModelError as error:
        return {}, [fault(check, str(error), "correct the folder, or leave it out")]
    for name in (settings.model_name, settings.upstream_model):
        if name in found:
            advice = "rename the adapter: clients and server choose by name"
            return found, [fault(check, f"{printable(name)} is the model's own name", advice)]
    if not names_adapters(settings.engine):
        engine = printable(settings.engine.name)
        return found, [fault(check, f"with {engine}: adapters are named in vLLM's form only", "leave --adapter out")]
    if not found:
        return found, [warning(check, "the folders hold none", "copy the adapters there, or leave --adapters out")]
    first, *more = found.values()
    start = shlex.join(vllm_arguments(list(found.values()))[: -len(more)] if more else vllm_arguments([first]))
    what = f"start the server with {start}{' ...' if more else ''}"
    listed = [ok(check, f"{one.name}: rank {one.rank}, {one.digest}") for one in found.values()]
    return found, [*listed, ok(check, f"{len(found)} in all: {what}")]


def check_served(url: str, served: Collection[str], adapters: Collection[str]) -> list[Finding]:
    """The check that a server lists every adapter among its models; empty where it does."""
    missing = sorted(set(adapters) - set(served))
    if not missing:
        return []
    shown = ", ".join(printable(one) for one in missing[:_SHOWN])
    found = f"{url}: does not serve {len(missing)} of {len(adapters)} adapters, such as {shown}"
    return [fault("upstream", found, "start it with --enable-lora --lora-modules NAME=FOLDER for each")]
