"""An honest inference server for a machine without an engine: vLLM's completions API over `ServedModel`.

It draws by scheme `vllm-cpu` from the weights of a model folder, in bfloat16, one request at a time; a request without
a seed has seed 0. Requests that it cannot draw as vLLM would are refused with status 400.

    python -m benchmarks.inference_server my-model [--listen 127.0.0.1:8000]
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any, Literal

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.attackers.serving import ServedModel, Step
from weightwarden.logger.record import CUT_OFF_BY_LOGGER, Engine, Record
from weightwarden.logger.serving.address import Address
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.types import IntArray
from weightwarden.verifier.model.identity import identify_model

ENGINE = Engine(name="vllm", version="0.32.0", sampler="vllm-cpu")
MAX_BODY_BYTES = 1 << 20
TokenId = Annotated[int, Field(ge=0)]


class Request(BaseModel):
    """A request that this server can draw. Every other value of a field is refused, and so is every other field."""

    model_config = ConfigDict(extra="forbid")

    model: str
    prompt: Annotated[list[TokenId], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] = 16
    seed: int | None = None
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    ignore_eos: bool = False
    stream: Literal[True]
    return_token_ids: Literal[True]
    n: Literal[1] = 1
    add_special_tokens: bool = False
    echo: Literal[False] = False
    watermarking: Literal[False] = False
    stop: Annotated[list[str], Field(max_length=0)] = []
    stop_token_ids: Annotated[list[TokenId], Field(max_length=0)] = []
    min_tokens: Literal[0] = 0
    repetition_penalty: Literal[1] = 1
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0

    def record(self) -> Record:
        """The request as a record without tokens. Temperature 0 is a draw among the most likely token alone."""
        greedy = self.temperature == 0
        return Record(
            model=self.model,
            engine=ENGINE,
            prompt_token_ids=self.prompt,
            output_token_ids=[],
            seed=self.seed or 0,
            choice_index=0,
            finish_reason="abort",
            stop_reason=CUT_OFF_BY_LOGGER,
            sampling=SamplingParams(
                temperature=1.0 if greedy else self.temperature,
                top_k=1 if greedy else max(self.top_k, 0),
                top_p=1.0 if greedy else self.top_p,
                min_p=0.0 if greedy else self.min_p,
                max_tokens=self.max_tokens,
            ),
        )


class InferenceServer(ThreadingHTTPServer):
    """A server of one model, under the folder's name."""

    daemon_threads = True

    def __init__(self, listen: Address, model: ServedModel, name: str, context_length: int) -> None:
        super().__init__((listen.host, listen.port), _Handler)
        self.model, self.name, self.context_length = model, name, context_length
        self.turn = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: InferenceServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The model cards, and /health."""
        if self.path == "/v1/models":
            card = {"id": self.server.name, "object": "model", "max_model_len": self.server.context_length}
            self._respond(200, {"object": "list", "data": [card]})
        else:
            self._respond(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        """An answer as an event stream, one event a token."""
        length = int(self.headers.get("content-length", 0))
        if self.path != "/v1/completions" or not 0 < length <= MAX_BODY_BYTES:
            self.close_connection = True
            self._respond(404 if self.path != "/v1/completions" else 413, {})
            return
        try:
            asked = Request.model_validate_json(self.rfile.read(length))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
            field = ".".join(map(str, fault["loc"]))
            self._respond(400, {"error": {"message": f"{field}: {fault['msg']}", "type": "BadRequestError"}})
            return
        if asked.model != self.server.name:
            self._respond(404, {"error": {"message": f"no such model: {asked.model!r}", "type": "NotFoundError"}})
        elif len(asked.prompt) + asked.max_tokens > self.server.context_length:
            self._respond(400, {"error": {"message": "prompt: longer than the context", "type": "BadRequestError"}})
        else:
            self._stream(asked)

    def _stream(self, asked: Request) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("connection", "close")
        self.end_headers()
        eos_ids = () if asked.ignore_eos else self.server.model.identity.eos_ids

        def choose(step: Step) -> IntArray:
            token = int(step.honest_b[0])
            ended = "stop" if token in eos_ids else "length" if step.position + 1 == asked.max_tokens else None
            self._event(asked, token, ended)
            return step.honest_b

        try:
            with self.server.turn:
                self.server.model.serve([asked.record()], choose, stops=not asked.ignore_eos)
            self.wfile.write(b"data: [DONE]\n\n")
        except ConnectionError:
            pass  # the client is gone: it stopped, or found a stop string
        self.close_connection = True

    def _event(self, asked: Request, token: int, finish_reason: str | None) -> None:
        choice = {"index": 0, "text": "", "token_ids": [token], "finish_reason": finish_reason, "stop_reason": None}
        body = {"object": "text_completion", "created": int(time.time()), "model": asked.model, "choices": [choice]}
        self.wfile.write(b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n")
        self.wfile.flush()

    def _respond(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: the sidecar in front logs every answer."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER")
@click.option("--listen", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT", help="Address for clients.")
def main(folder: Path, listen: str) -> None:
    """Serve the model of FOLDER under the folder's name, until it is stopped."""
    identity = identify_model(folder)
    model = ServedModel.load(identity, head=identity.vocabulary)
    address = Address.parse(listen)
    name = folder.resolve().name
    with InferenceServer(address, model, name, identity.context_length or 2048) as server:
        click.echo(f"{name} at http://{listen}", err=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
