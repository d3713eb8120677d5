"""The complete weights of a model folder as a transformers model, with no initialised weights."""

from collections.abc import Iterable
from typing import Any, cast

import torch
import transformers
from transformers.quantizers import AutoHfQuantizer

from weightwarden.extras import MissingExtra
from weightwarden.logger.errors import ModelError
from weightwarden.text import first_line, printable
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.replay.transformers.float32_linear import with_float32_products

EVERY_GPU = "auto"
"""Name of all GPUs together: accelerate places the model's layers on them one after another."""
_NAMES_SHOWN = 3
_WORDS = 400


def load_language_model(identity: ModelIdentity, dtype: torch.dtype, device: str) -> torch.nn.Module:
    """A folder's language model, of images and text or of text alone, loaded without running the folder's code.

    Quantised weights stay quantised.

    Args:
        device: torch's name of the device, or `EVERY_GPU`.

    Raises:
        MissingExtra: the weights are quantised in a way for which a package is missing.
        ModelError: the folder is not a causal language model that transformers can load, the device does not exist, or
            the checkpoint has a tensor that is missing, superfluous or of another shape than the model's (the message
            names it).
    """
    named = str(dtype).removeprefix("torch.")
    quantised = None
    try:
        where: Any = EVERY_GPU if device == EVERY_GPU else None
        config = transformers.AutoConfig.from_pretrained(identity.path, trust_remote_code=False, local_files_only=True)
        quantised = getattr(config, "quantization_config", None)
        if quantised is not None and not AutoHfQuantizer.supports_quant_method(quantised):
            raise ModelError(f"{identity.path}: quantization_config: of a kind that transformers does not know")
        if where is None and quantised is not None:
            where = {"": torch.device(device)}  # quantisers place their own tensors, and some refuse `to`
        model, found = class_of(config).from_pretrained(
            identity.path,
            config=config,
            dtype=dtype,
            device_map=where,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            output_loading_info=True,
        )
        _check_complete(identity, found)
        model = (model.to(torch.device(device)) if where is None else model).eval()
        if any(parameter.is_meta for parameter in model.parameters()):
            raise ModelError(f"{identity.path}: too large for the memory of all GPUs together in {named}")
        if where is None:  # accelerate and quantisers have changed the layers of others
            with_float32_products(model)
    except ModelError:
        raise
    except ImportError as error:
        if quantised is None:
            raise
        raise MissingExtra(f"{identity.path}: its quantised weights need another package: {_words(error)}") from error
    except Exception as error:  # transformers raises many types of errors for faulty files
        kind = type(error).__name__
        said = first_line(error)
        raise ModelError(f"{identity.path}: cannot be loaded on {device} in {named}: {kind}: {said}") from error
    return cast(torch.nn.Module, model)


def class_of(config: Any) -> Any:
    """The class that loads a configuration's checkpoints: with images if the checkpoint holds them."""
    named = (getattr(config, "architectures", None) or [""])[0]
    with_images = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if with_images and not named.endswith("ForCausalLM"):
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModelForCausalLM


def _check_complete(identity: ModelIdentity, found: dict[str, Any]) -> None:
    """Refuse a checkpoint that does not match the model. Tensors that the class ignores or ties are not in `found`.

    Raises:
        ModelError: tensors are missing, superfluous or of another shape; the message names the first ones.
    """
    mismatched = [f"{name} {tuple(theirs)}, not {tuple(ours)}" for name, theirs, ours in found["mismatched_keys"]]
    for what, names in (
        ("lacks", found["missing_keys"]),
        ("has a shape of its own for", mismatched),
        ("holds, and the model does not have,", found["unexpected_keys"]),
    ):
        if names:
            raise ModelError(f"{identity.path}: the checkpoint {what} {_some(names)}")
    if found.get("error_msgs"):
        raise ModelError(f"{identity.path}: {first_line(ValueError(found['error_msgs'][0]))}")


def _words(error: Exception) -> str:
    """The error's message on one line; the installation command is often on its last."""
    return printable(" ".join(str(error).split())[:_WORDS])


def _some(names: Iterable[str]) -> str:
    """The first names in order, and the number of further names."""
    ordered = sorted(names)
    more = len(ordered) - _NAMES_SHOWN
    return ", ".join(ordered[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
