"""Gumbel noise on the device: twins of the counter-based schemes of `sampler.noise`, in torch."""

from weightwarden.sampler.noise import GumbelNoise
from weightwarden.verifier.candidates.device.noise.base import DeviceNoise
from weightwarden.verifier.candidates.device.noise.murmur import (
    SglangDeviceNoise,
    VllmV2DeviceNoise,
    VllmV2Fp64DeviceNoise,
)
from weightwarden.verifier.candidates.device.noise.vllm_cpu import VllmCpuDeviceNoise
from weightwarden.verifier.candidates.device.noise.vllm_v1 import VllmV1DeviceNoise, VllmV1Fp64DeviceNoise

__all__ = ["DeviceNoise", "VllmCpuDeviceNoise", "VllmV2DeviceNoise", "device_noise"]

_TWINS: dict[str, type[DeviceNoise]] = {
    kind.name: kind
    for kind in (
        VllmCpuDeviceNoise,
        VllmV1DeviceNoise,
        VllmV1Fp64DeviceNoise,
        VllmV2DeviceNoise,
        VllmV2Fp64DeviceNoise,
        SglangDeviceNoise,
    )
}


def device_noise(noise: GumbelNoise) -> DeviceNoise | None:
    """The twin of a scheme's noise. None if there is none: then the host reduces the rows."""
    kind = _TWINS.get(noise.name)
    return None if kind is None else kind.twin_of(noise)
