"""Low-rank adapters in the layers of a replayer's model, computed by PEFT. At most one is active."""

import json
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from weightwarden.extras import needs_extra
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.adapter import ADAPTER_WEIGHTS, AdapterFiles
from weightwarden.logger.record import Adapter
from weightwarden.text import first_line, printable
from weightwarden.verifier.model.identity import ModelIdentity

HELD_BYTES = {"cpu": 2 * 2**30, "cuda": 8 * 2**30}
"""Bytes of adapters' weights that stay on the device after their use. The adapter in use is held in any case."""
MAX_SLOTS = 8
"""Largest number of configurations whose layers stay in the model: each makes its passes slower."""
_PREFIX = "base_model.model."
_PARTS = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")


def in_adapter(name: str) -> bool:
    """True if the module of that name is a part of a low-rank adapter."""
    return not set(_PARTS).isdisjoint(name.split("."))


@dataclass
class _Slot:
    """PEFT's layers for the adapters of one configuration.

    Attributes:
        name: PEFT's name for them.
        parameters: their parameters, by the names of tensors in adapters' files.
    """

    name: str
    parameters: dict[str, torch.nn.Parameter]


class AdapterLayers:
    """The adapters of a model, by digest.

    PEFT puts layers of its own beside the model's linear layers, once for each configuration. An adapter of a known
    configuration is put into these layers by exchanging their tensors, so that hundreds of adapters on one model cost
    no more layers than one. Where no adapter is active, the model computes exactly what it computes without PEFT.
    """

    def __init__(self, model: Any, identity: ModelIdentity) -> None:
        """The adapters of an identity. All files are compared with the model's modules.

        Raises:
            MissingExtra: there are adapters, and PEFT is not installed.
            ModelError: an adapter's tensors are not of this model; the message names file and tensor.
        """
        self._model, self._identity = model, identity
        self._peft: Any = None
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._held: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()
        self._active: str | None = None
        self._made = 0
        if identity.adapters:
            with needs_extra("adapters"):
                import peft  # noqa: F401
            modules = dict(model.named_modules())
            for files in identity.adapters.values():
                _check_shapes(files, modules)

    def use(self, adapter: Adapter | None) -> None:
        """Let the model compute with an adapter, or alone.

        Raises:
            ModelError: there is no trusted copy of the adapter, or PEFT cannot load it.
        """
        digest = None if adapter is None else adapter.digest
        if digest == self._active:
            return
        if adapter is None or digest is None:
            self._peft.base_model.disable_adapter_layers()
            self._active = None
            return
        files = self._identity.adapters.get(digest)
        if files is None:
            raise ModelError(f"adapter: there is no copy of {printable(adapter.name)} ({digest}) here")
        slot = self._slot(files)
        tensors = self._tensors(files)
        if tensors.keys() != slot.parameters.keys():
            odd = sorted(tensors.keys() ^ slot.parameters.keys())[0]
            raise ModelError(f"{files.folder / ADAPTER_WEIGHTS}: {printable(odd)}: not in both, file and configuration")
        for name, parameter in slot.parameters.items():
            parameter.data = tensors[name]
        self._peft.base_model.set_adapter([slot.name], inference_mode=True)
        if self._active is None:
            self._peft.base_model.enable_adapter_layers()
        self._active = digest

    def _slot(self, files: AdapterFiles) -> _Slot:
        """The layers for an adapter's configuration, made by PEFT at its first adapter."""
        key = json.dumps(files.config, sort_keys=True)
        if key in self._slots:
            self._slots.move_to_end(key)
            return self._slots[key]
        name = f"slot{self._made}"
        self._made += 1
        given = {"adapter_name": name, "is_trainable": False, "autocast_adapter_dtype": False}
        device = str(next(self._model.parameters()).device)
        try:
            import peft

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of missing tensors, which are compared here
                if self._peft is None:
                    self._peft = peft.PeftModel.from_pretrained(
                        self._model, str(files.folder), torch_device=device, low_cpu_mem_usage=True, **given
                    )
                else:
                    self._peft.load_adapter(str(files.folder), torch_device=device, low_cpu_mem_usage=True, **given)
        except Exception as error:  # PEFT raises many types of errors for faulty files
            said = f"{type(error).__name__}: {first_line(error)}"
            raise ModelError(f"{files.folder}: PEFT cannot load this adapter: {said}") from error
        self._model.eval()
        self._active = self._active or ""  # PEFT has made the layers active
        parameters = {
            ".".join(part for part in parts if part != name): parameter
            for full, parameter in self._peft.named_parameters()
            if name in (parts := full.split("."))
        }
        self._slots[key] = _Slot(name, parameters)
        if len(self._slots) > MAX_SLOTS:
            _, oldest = self._slots.popitem(last=False)
            self._peft.delete_adapter(oldest.name)
        return self._slots[key]

    def _tensors(self, files: AdapterFiles) -> dict[str, torch.Tensor]:
        """An adapter's tensors on the model's device, in its dtype. Those used last stay there (`HELD_BYTES`)."""
        if files.digest in self._held:
            self._held.move_to_end(files.digest)
            return self._held[files.digest]
        like = next(self._model.parameters())
        found = {}
        with _opened(files) as stream:
            for name in stream.keys():  # noqa: SIM118  (not a dict)
                found[name] = stream.get_tensor(name).to(like.device, like.dtype)
        self._held[files.digest] = found
        most = HELD_BYTES.get(like.device.type, HELD_BYTES["cpu"])
        while len(self._held) > 1 and sum(map(_bytes, self._held.values())) > most:
            self._held.popitem(last=False)
        return found


def _bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _opened(files: AdapterFiles) -> Any:
    path = files.folder / ADAPTER_WEIGHTS
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a safetensors file: {first_line(error)}") from None


def _check_shapes(files: AdapterFiles, modules: dict[str, Any]) -> None:
    """Compare an adapter's tensors with the modules of the model, by name and shape.

    Raises:
        ModelError: a tensor belongs to no module, or has another shape.
    """
    path = files.folder / ADAPTER_WEIGHTS
    with _opened(files) as stream:
        for name in stream.keys():  # noqa: SIM118  (not a dict)
            parts = name.removeprefix(_PREFIX).split(".")
            at = next((at for at, part in enumerate(parts) if part in _PARTS), None)
            module = None if at is None or not name.startswith(_PREFIX) else modules.get(".".join(parts[:at]))
            if at is None or module is None:
                raise ModelError(f"{path}: {printable(name)}: the model has no such layer")
            shape = list(stream.get_slice(name).get_shape())
            inner, width = (1, "in_features") if parts[at] == "lora_A" else (0, "out_features")
            expected = getattr(module, width, None)
            if parts[at] in _PARTS[:2] and expected is not None and (len(shape) != 2 or shape[inner] != expected):
                raise ModelError(
                    f"{path}: {printable(name)}: shape {shape}, and the model's layer has {width} {expected}"
                )
