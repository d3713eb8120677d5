"""Fixtures that the readers do not pass, each with the reason."""

_CUT = "the answer ends within a call; its name and the arguments so far went to the client while they grew"
_REPAIR = "the call is malformed, and is to be repaired: "

REPAIRS = {
    "glm/glm47-missing-last-close-arg-value": _REPAIR + "a value without its end marker",
    "kimi/k2i-vllm-noise-between-markers": _REPAIR + "text between the markers of the section and of the call",
    "qwen3-xml/llamacpp-q35-call-inside-think": _REPAIR + "reasoning without its end marker before the call",
    "qwen3-xml/vllm-coder-missing-close-parameter": _REPAIR + "a value without its end marker",
    "qwen3-xml/bug-missing-close-parameter-before-function": _REPAIR + "a value without its end marker",
}
"""Fixtures that no mode passes: nothing is repaired."""

FAILURES = {
    False: {
        **REPAIRS,
        "deepseek/v31-truncated-mid-arguments": _CUT,
        "deepseek/v32-truncated-mid-arguments": _CUT,
        "deepseek/v32-truncated-second-parallel-call": _CUT,
        "deepseek/v4-truncated-mid-arguments": _CUT,
        "deepseek/v4-truncated-second-parallel-call": _CUT,
        "glm/glm47-truncated-inside-arg-value": _CUT,
        "glm/glm47-truncated-before-close-call": _CUT,
        "glm/glm45-truncated-after-arg-key": _CUT,
        "gpt-oss/harmony-truncated-in-arguments": _CUT,
        "kimi/k26-truncated-inside-arguments": _CUT,
        "llama/l3-truncated-inside-parameters": _CUT,
        "mistral/v13think-truncated-in-arguments": _CUT,
        "qwen3-hermes/bug-sglang-30480-truncated-mid-arguments": _CUT,
        "qwen3-hermes/vllm-invalid-json-missing-brace": _CUT,
        "qwen3-hermes/truncated-mid-arguments-no-thinking": _CUT,
        "qwen3-hermes/truncated-mid-arguments-thinking": _CUT,
        "qwen3-hermes/truncated-second-parallel-call": _CUT,
        "qwen3-xml/q38-truncated-in-parameter": _CUT,
    },
    True: REPAIRS,
}
"""Reasons by fixture, by whether a call begins only once it is complete."""
