"""OpenAPI description of the sidecar's HTTP interface, generated from the models that validate requests."""

from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from weightwarden.logger.request_stamp import REQUEST_ID_PATTERN
from weightwarden.logger.sidecar.wire.messages_api.request import CountTokensRequest, MessagesRequest
from weightwarden.logger.sidecar.wire.requests import ChatRequest, CompletionRequest
from weightwarden.logger.sidecar.wire.responses_api.request import ResponsesRequest

_REF = "#/components/schemas/{model}"
_SECURITY: list[dict[str, list[str]]] = [{}, {"key": []}, {"api_key": []}]
_ERRORS = {
    "400": "The request cannot be served as it is; `param` names the field.",
    "401": "No valid API key.",
    "404": "No such model or adapter; `message` names the model that is served.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "Too many requests are under way; `Retry-After` says when to try again.",
    "431": "The headers are too large.",
    "502": "The inference server failed; the words are always the same.",
    "503": "The log cannot be written, the server of log probabilities failed, or the service is stopping.",
}


def description() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    bodies = (ChatRequest, CompletionRequest, ResponsesRequest, MessagesRequest, CountTokensRequest)
    _, definitions = models_json_schema([(body, "validation") for body in bodies], ref_template=_REF)
    schemas = definitions["$defs"]
    schemas["MessagesError"] = {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    }
    schemas["Error"] = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "weightwarden sidecar", "version": version("weightwarden")},
        "paths": {
            "/v1/responses": {"post": _answering("Answer input items.", "ResponsesRequest")},
            "/v1/messages": {"post": _answering("Answer messages.", "MessagesRequest", "MessagesError")},
            "/v1/messages/count_tokens": {
                "post": _answering(
                    "Count the tokens of messages.", "CountTokensRequest", "MessagesError", streams=False
                )
            },
            "/v1/chat/completions": {"post": _answering("Answer a chat.", "ChatRequest")},
            "/v1/completions": {"post": _answering("Complete prompts.", "CompletionRequest")},
            "/v1/models": {
                "get": _reading(
                    "The model that is served, and the adapters on it.", {"401": _ERRORS["401"]}, secured=True
                )
            },
            "/v1/models/{model}": {
                "parameters": [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}],
                "get": _reading(
                    "The model, or an adapter on it.",
                    {"401": _ERRORS["401"], "404": _ERRORS["404"]},
                    secured=True,
                ),
            },
            "/health": {"get": _reading("Whether the process lives.", {})},
            "/ready": {"get": _reading("Whether it can serve.", {"503": "It cannot now; `status` says why."})},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _answering(summary: str, schema: str, error: str = "Error", *, streams: bool = True) -> dict[str, Any]:
    return {
        "summary": summary,
        "security": _SECURITY,
        "parameters": [
            {
                "name": "x-request-id",
                "in": "header",
                "description": "The client's id of the request. The response repeats it. A malformed one is replaced.",
                "schema": {"type": "string", "pattern": f"^{REQUEST_ID_PATTERN}$"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=schema)}}},
        },
        "responses": {
            "200": {
                "description": "The answer, whole or as server-sent events (`stream`).",
                "content": {"application/json": {}, "text/event-stream": {}},
            }
            if streams
            else {"description": "The count.", "content": {"application/json": {}}},
            **{status: _error(words, error) for status, words in _ERRORS.items()},
        },
    }


def _reading(summary: str, errors: dict[str, str], *, secured: bool = False) -> dict[str, Any]:
    return {
        "summary": summary,
        **({"security": _SECURITY} if secured else {}),
        "responses": {
            "200": {"description": summary, "content": {"application/json": {}}},
            **{status: _error(words) if status != "503" else _status(words) for status, words in errors.items()},
        },
    }


def _error(words: str, schema: str = "Error") -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": {"$ref": _REF.format(model=schema)}}}}


def _status(words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {}}}
