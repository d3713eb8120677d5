"""Front of the sidecar in one process: all that answers requests, over a log in this process or behind a link."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.answer import ChoiceRunner
from weightwarden.logger.sidecar.app import Dependencies
from weightwarden.logger.sidecar.cors import Cors
from weightwarden.logger.sidecar.ignored_fields import IgnoredFields
from weightwarden.logger.sidecar.interpretation import RequestInterpreter
from weightwarden.logger.sidecar.log.recorder import DraftLog, DraftRecorder
from weightwarden.logger.sidecar.log.seeds import Seeds
from weightwarden.logger.sidecar.logprobs.trusted_server import TrustedServer
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.prepare_pool import PreparePool
from weightwarden.logger.sidecar.readiness import Readiness
from weightwarden.logger.sidecar.release_ticks import Ticks
from weightwarden.logger.sidecar.service import Service
from weightwarden.logger.sidecar.startup import ServingParts
from weightwarden.logger.sidecar.upstream.client import Upstream
from weightwarden.logger.sidecar.upstream.replicas import Replica, Replicas
from weightwarden.logger.sidecar.whole_answers import WholeBodies


@dataclass(frozen=True, kw_only=True)
class Front:
    """The objects that answer requests.

    Attributes:
        service: the service.
        recorder: its recorder of drafts.
        replicas: the inference servers.
        dependencies: what the endpoints use.
    """

    service: Service
    recorder: DraftRecorder
    replicas: Replicas
    dependencies: Dependencies


@asynccontextmanager
async def front(
    parts: ServingParts,
    log: DraftLog,
    seeds: Callable[[DraftRecorder], Seeds],
    metrics: Metrics,
    events: Events,
    created: int,
) -> AsyncIterator[Front]:
    """The front over a log, with clients of the servers that are open within the block.

    Args:
        parts: the parts that serve requests.
        log: the log.
        seeds: makes the issuer of seeds over the log's recorder.
        metrics: the operator's metrics.
        events: the operator's log.
        created: Unix time of the sidecar's start, seconds.
    """
    settings, limits = parts.settings, parts.settings.limits
    async with AsyncExitStack() as stack:
        replicas = await open_replicas(stack, parts, metrics, events)
        trusted = None
        if settings.logprobs_url is not None:
            trusted = await stack.enter_async_context(
                TrustedServer(
                    settings.logprobs_url,
                    settings.logprobs_model or settings.upstream_model,
                    api_key=parts.logprobs_key,
                    seconds=limits.first_token,
                    metrics=metrics,
                )
            )
        threads = PreparePool()
        stack.callback(threads.close)
        recorder = DraftRecorder(log, metrics, events, parts.clock)
        service = Service(
            choice_runner=ChoiceRunner(
                model=parts.model, replicas=replicas, recorder=recorder, metrics=metrics, events=events
            ),
            recorder=recorder,
            engine=settings.engine,
            issuer=seeds(recorder),
            limits=limits,
            metrics=metrics,
            call_ids=parts.call_ids,
            bodies=WholeBodies(parts.model.tokenizer, trusted),
            ticks=None if settings.release_tick is None else Ticks(settings.release_tick, _loop_time()),
            pace=settings.release_pace,
            sends_record_index=settings.sends_record_index,
            clock=parts.clock,
        )
        interpreter = RequestInterpreter(
            model=parts.model,
            limits=limits,
            client_seeds=settings.client_seeds == "allow",
            workers=threads,
            grammars=parts.grammars,
            speculates=settings.speculative_decoding,
            reasoning_content=settings.reasoning_content,
            stops_in_reasoning=settings.stops_in_reasoning,
            gives_logprobs=trusted is not None,
        )
        dependencies = Dependencies(
            service=service,
            interpreter=interpreter,
            keys=parts.api_keys,
            cache_salts=parts.cache_salts,
            cors=Cors(settings.allowed_origins),
            request_ids=parts.request_ids,
            events=events,
            ignored_fields=IgnoredFields(events, metrics) if settings.unknown_fields == "ignore" else None,
            ready=Readiness(service, recorder, replicas),
            created=created,
        )
        yield Front(service=service, recorder=recorder, replicas=replicas, dependencies=dependencies)


async def open_replicas(stack: AsyncExitStack, parts: ServingParts, metrics: Metrics, events: Events) -> Replicas:
    """The servers, with a client of each that is open until the stack is closed."""
    settings, limits = parts.settings, parts.settings.limits
    found: list[Replica] = []
    for one in settings.upstreams:
        client = Upstream(
            one.url,
            settings.upstream_model,
            vocabulary=parts.model.vocabulary,
            context_length=parts.model.context_length,
            api_key=parts.upstream_key,
            first_token=limits.first_token,
            stall=limits.stall,
        )
        found.append(Replica(one.name, await stack.enter_async_context(client)))
    return Replicas(found, metrics, events, _loop_time())


def _loop_time() -> Callable[[], float]:
    return asyncio.get_running_loop().time
