"""The messages of the native interface, from its compiled description (contrib/rpc/generate.sh).

Room: stratum/rpc. May import: nothing of ours.
"""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "stratum.v1"
DESCRIPTION = Path(__file__).with_name("stratum.desc")


def _load() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTION.read_bytes()).file:
        pool.Add(file)
    return pool


POOL = _load()


def message(name: str) -> Any:
    """The class of a message, by its name in stratum.proto."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def methods(service: str) -> dict[str, tuple[Any, Any, bool, bool]]:
    """Of a service: method -> (request class, response class, the request streams, the response streams)."""
    return {
        each.name: (
            message_factory.GetMessageClass(each.input_type),
            message_factory.GetMessageClass(each.output_type),
            each.client_streaming,
            each.server_streaming,
        )
        for each in POOL.FindServiceByName(f"{PACKAGE}.{service}").methods
    }
