"""Whose things are, as answers show it.

Room: stratum/s3. May import: core.{acl, principals}, engine, s3.{answers, call, xml}.
"""

from stratum.core.acl import ENFORCED
from stratum.core.principals import OPERATOR_ID
from stratum.s3.answers import person_nodes
from stratum.s3.call import Call
from stratum.s3.xml import Node, node


class Owners:
    """The owners that one answer about a bucket shows; each is looked up once."""

    def __init__(self, call: Call) -> None:
        """Raises NoSuchBucket, CorruptRecord."""
        ground = call.engine.grounds.of(call.bucket, call.principal)
        self._users = call.engine.users
        self.bucket = ground.owner
        self._enforced = ground.ownership == ENFORCED
        self._found: dict[str, tuple[str, str]] = {}

    def of(self, stored: str) -> str:
        """Canonical id of the owner that the record of an object or upload names."""
        return self._look(stored)[0]

    def node(self, stored: str, name: str = "Owner") -> Node:
        """The owner of an object or upload as an element."""
        return node(name, *person_nodes(*self._look(stored)))

    def initiator(self, stored: str) -> Node:
        """Who began an upload, whoever will own the object."""
        known = self._users.find(stored) is not None or stored == OPERATOR_ID
        return node("Initiator", *person_nodes(stored, self._users.name_of(stored) if known else stored))

    def _look(self, stored: str) -> tuple[str, str]:
        if stored not in self._found:
            owner = self.bucket if self._enforced else self._users.owner_of(stored, self.bucket)
            self._found[stored] = (owner, self._users.name_of(owner))
        return self._found[stored]
