"""The gRPC server: its threads, its limits, and how a call is authorised.

Room: stratum/rpc. May import: rpc.{call, messages, objects, store}.

gRPC for Python under trio is its threaded server, bridged (docs/decisions/0017-native-interface.md). Calls beyond the
limit are refused at once. A call is authorised before its handler sees any of it.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import trio

from stratum.rpc.call import Ask, Loop, Refused
from stratum.rpc.messages import PACKAGE, methods
from stratum.rpc.objects import Objects
from stratum.rpc.store import Pages, Store

log = logging.getLogger(__name__)

CALLS = 32  # at the same time
MESSAGE_BYTES = 4 << 20
METADATA_BYTES = 16 << 10
GRACE_SECONDS = 4.0
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.max_connection_idle_ms", 300_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """What the server needs, all on the loop. `authorise`: (path, metadata, peer) -> access key; raises Refused."""

    ask: Ask
    pages: Pages
    authorise: Callable[[str, Mapping[str, str], str], Awaitable[str]]
    credentials: grpc.ServerCredentials | None = None  # None: plain HTTP/2


async def serve_rpc(
    rpc: Rpc,
    address: str,
    *,
    stop: Callable[[], Any],
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on `address` until `stop` returns. Reports the port. Raises OSError if it cannot be bound."""
    async with trio.open_nursery() as nursery:
        loop = Loop(trio.lowlevel.current_trio_token(), nursery)
        server = grpc.server(
            ThreadPoolExecutor(CALLS, thread_name_prefix="rpc"), options=OPTIONS, maximum_concurrent_rpcs=CALLS
        )
        for name, service in (("Objects", Objects(loop, rpc.ask)), ("Store", Store(loop, rpc.pages))):
            server.add_generic_rpc_handlers((_handlers(name, service, partial(_who, loop, rpc)),))
        try:
            port = (
                server.add_insecure_port(address)
                if rpc.credentials is None
                else server.add_secure_port(address, rpc.credentials)
            )
        except RuntimeError as error:
            raise OSError(f"the native interface cannot listen on {address}") from error
        server.start()
        try:
            task_status.started(port)
            await stop()
        finally:
            ended = server.stop(GRACE_SECONDS)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(ended.wait)
            nursery.cancel_scope.cancel()


Who = Callable[[str, Any], str]  # (path, context) -> access key


def _handlers(name: str, service: Any, who: Who) -> grpc.GenericRpcHandler:
    made = {}
    for method, (request, response, takes, gives) in methods(name).items():
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
        }[takes, gives]
        path = f"/{PACKAGE}.{name}/{method}"
        run = (_streaming if gives else _single)(getattr(service, method), path, who)
        made[method] = make(
            run, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )
    return grpc.method_handlers_generic_handler(f"{PACKAGE}.{name}", made)


def _single(handler: Callable[..., Any], path: str, who: Who) -> Callable[[Any, Any], Any]:
    def run(request: Any, context: Any) -> Any:
        try:
            return handler(request, context, who(path, context))
        except Exception as error:
            _abort(context, error)

    return run


def _streaming(handler: Callable[..., Iterator[Any]], path: str, who: Who) -> Callable[[Any, Any], Iterator[Any]]:
    def run(request: Any, context: Any) -> Iterator[Any]:
        try:
            yield from handler(request, context, who(path, context))
        except Exception as error:
            _abort(context, error)

    return run


def _who(loop: Loop, rpc: Rpc, path: str, context: Any) -> str:
    metadata = {name.lower(): value for name, value in context.invocation_metadata() if isinstance(value, str)}
    return str(loop.run(rpc.authorise, path, metadata, context.peer()))


def _abort(context: Any, error: Exception) -> None:
    """Tell the client; raises."""
    if isinstance(error, Refused):
        context.abort(error.code, str(error))
    if context.is_active():
        log.error("a call failed; this is a bug", exc_info=error)
    context.abort(grpc.StatusCode.INTERNAL, "see the server's log")
