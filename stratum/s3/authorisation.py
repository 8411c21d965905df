"""The step between "who asks" and doing it: may they?

Room: stratum/s3. May import: core.*, engine, s3.*.

Invariants
    Z1  Nothing is looked at for who may not look: a refusal is the same whether or not there is such a key, and
        whatever the conditions of the request say. Only who may list a bucket is told that a key is not there.
    Z2  The owner of a bucket into which no policy speaks is let through after one look, without an await.
    Z3  An operation without a row in actions.py, and grounds that cannot be read, let nobody through.
    Z4  Policies that take long to parse, or to judge by, are parsed and judged by in a thread, whoever asks for it; of
        what was so when the question was first put.

`core/access.py` decides; here is only what it decides about.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import trio

from stratum.core.access import Decision, Ground, decide, object_allows
from stratum.core.errors import NoSuchKey, NoSuchVersion, NotFound, StratumError
from stratum.core.policy import AccessRequest, asks_for_existing_tags, is_heavy
from stratum.core.policy_conditions import Context
from stratum.core.principals import ANONYMOUS_ID
from stratum.core.records import Acl, Inode
from stratum.engine.grounds import Looked
from stratum.s3.actions import COPYING, NEEDS, OF_UPLOADS, Need, deletion, needs_of, source_of, source_tags
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.payment import check_payer
from stratum.s3.policy_context import Facts, policy_context
from stratum.s3.routes import Op

_REQUEST_TAGS = ("s3:requestobjecttag/", "s3:requestobjecttagkeys")
EXPECTED, EXPECTED_SOURCE = "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"
BUCKETLESS = frozenset((Op.LIST_BUCKETS, Op.CREATE_BUCKET))
NANOSECONDS = 10**9
_OF_UPLOADS = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


async def authorise(call: Call) -> None:
    """Return if the request may be done. Raises AccessDenied, NoSuchBucket; NoSuchKey for who may list.

    Where policies ask for tags that are still to come in the body, the handler has it decided then (`Call.rejudge`).
    """
    try:
        if not _waved_through(call):
            question = _Question(call)
            await question.prepare()
            if not (call.rejudge is not None and question.asks_for_request_tags()):
                await question.check(needs_of(call))
    except NotFound:
        await call.engine.grounds.settled()  # that something is not there is said of durable facts alone
        raise


def _waved_through(call: Call) -> bool:
    """The quick way (Z2)."""
    op = call.route.op
    if op in BUCKETLESS:
        return False
    looked = call.engine.grounds.look(call.bucket, call.principal)
    _check_expected(call, EXPECTED, looked.bucket.owner)
    check_payer(call, looked.bucket, owner=_owns(call, looked))
    plain = looked.silent() and not call.principal.limits
    return plain and op.name in NEEDS and op not in COPYING and _owns(call, looked)


def _owns(call: Call, looked: Looked) -> bool:
    principal = call.principal
    return principal.operator or (principal.root and looked.bucket.owner == principal.account_id)


def _check_expected(call: Call, name: str, owner: str) -> None:
    expected = call.headers.get(name)
    if expected is not None and expected != call.engine.users.owner_of(owner):
        raise S3Error("AccessDenied")


async def check_deletion(call: Call, key: bytes, version: str | None) -> None:
    """May this key of a DeleteObjects be deleted? Raises AccessDenied."""
    looked = call.engine.grounds.look(call.bucket, call.principal)
    if call.principal.limits or not (looked.silent() and _owns(call, looked)):
        question = _Question(call)
        await question.prepare()
        await question.check(deletion(call, key, version))


async def check_request_tags(call: Call, tags: Mapping[str, str]) -> None:
    """Decide about a request whose body turned out to hold these tags. Raises AccessDenied."""
    if not _waved_through(call):
        question = _Question(call, tags)
        await question.prepare()
        await question.check(needs_of(call))


async def check_again(call: Call) -> None:
    """Decide once more, after a body was waited for: what was decided about may be another object by now.

    Raises AccessDenied, NoSuchBucket, NoSuchKey.
    """
    if not _waved_through(call):
        question = _Question(call)
        await question.prepare()
        await question.check(needs_of(call))


async def refusal_instead(call: Call, error: StratumError) -> StratumError:
    """What a client is told instead of `error`: who may not list a bucket is not told what is missing in it (Z1)."""
    missing = isinstance(error, NoSuchKey | NoSuchVersion)
    if not missing and not (isinstance(error, S3Error) and error.code in ("NoSuchKey", "NoSuchVersion")):
        return error
    question = _Question(call)
    await question.prepare()
    places = [(call.bucket, call.key)]
    source = source_of(call)
    if source is not None:
        places.append(source[:2])
    for bucket, key in places:
        if not await question.may_list(bucket, key):
            return S3Error("AccessDenied")
    return error


class _Question:
    """One request, and what was found out about the buckets it touches."""

    def __init__(self, call: Call, tags: Mapping[str, str] | None = None) -> None:
        self._call = call
        self._tags = tags
        self._grounds: dict[str, Ground] = {}

    async def prepare(self) -> None:
        """Have the policies parsed (Z4), before anything is asked."""
        call, source = self._call, source_of(self._call)
        own = "" if call.route.op is Op.CREATE_BUCKET else call.bucket
        for bucket in {own, own if source is None else source[0]}:
            await call.engine.grounds.prepare(bucket, call.principal)

    async def check(self, needs: Iterable[Need]) -> None:
        """Raise AccessDenied unless all of it is allowed."""
        for need in needs:
            await self._must(need)
        source = source_of(self._call)
        if source is not None:
            await self._check_source(*source)

    async def _check_source(self, bucket: str, key: bytes, version: str | None) -> None:
        """Its tags are read and written with it, if it has any."""
        call = self._call
        if EXPECTED_SOURCE in call.headers:
            _check_expected(call, EXPECTED_SOURCE, self._ground(bucket).owner)
        wanted = source_tags(call)
        if wanted:
            found = self._object(Need("", bucket, key, version))
            for need in wanted if found is not None and found[1].tags else ():
                await self._must(need)

    async def _must(self, need: Need) -> None:
        if not await self._may(need):
            raise S3Error("AccessDenied")

    async def _may(self, need: Need, more: Context | None = None) -> bool:
        asked, ground = self._asked(need, more or {})
        judge = partial(decide, asked, ground, creating=need.creating)
        decision = await trio.to_thread.run_sync(judge) if is_heavy(ground.policies) else judge()
        if decision is Decision.OBJECT:
            return await self._object_allows(need, asked, ground)
        return decision is Decision.ALLOW

    def _asked(self, need: Need, more: Context) -> tuple[AccessRequest, Ground]:
        ground = self._ground(need.bucket)
        if self._of_anothers_upload(need, ground):
            ground = replace(ground, acl=Acl())  # a grant to write is none to meddle with what others have begun
        asked = AccessRequest(
            principal=self._call.principal,
            action=need.action,
            resource=need.resource,
            context=self._context(need, ground, more),
        )
        return asked, ground

    async def _object_allows(self, need: Need, asked: AccessRequest, ground: Ground) -> bool:
        try:
            owner, inode = self._call.engine.grounds.object(need.bucket, need.key, need.version, ground.owner)
        except (NoSuchKey, NoSuchVersion):
            if await self.may_list(need.bucket, need.key):
                raise
            return False
        return object_allows(asked, ground, owner, inode.acl)

    def _of_anothers_upload(self, need: Need, ground: Ground) -> bool:
        """Is it about an upload that somebody else began?"""
        call, principal = self._call, self._call.principal
        if need.action not in _OF_UPLOADS or call.route.op not in OF_UPLOADS or ground.rules(principal):
            return False
        upload = call.engine.grounds.upload(call.query["uploadId"])
        return upload is not None and (upload.initiator or upload.owner) != (principal.user or ANONYMOUS_ID)

    def asks_for_request_tags(self) -> bool:
        """Does any policy look at the tags that the request brings?"""
        return any(
            key.startswith(_REQUEST_TAGS) for each in self._ground(self._call.bucket).policies for key in each.keys
        )

    async def may_list(self, bucket: str, key: bytes) -> bool:
        """May the client know which keys there are?"""
        prefix: Context = {"s3:prefix": (key.decode("utf-8", "replace"),)}
        return await self._may(Need("s3:ListBucket", bucket), prefix)

    def _ground(self, bucket: str) -> Ground:
        if bucket not in self._grounds:
            grounds, principal = self._call.engine.grounds, self._call.principal
            own = not bucket or self._call.route.op is Op.CREATE_BUCKET
            self._grounds[bucket] = grounds.of_nothing(principal) if own else grounds.of(bucket, principal)
        return self._grounds[bucket]

    def _object(self, need: Need) -> tuple[str, Inode] | None:
        try:
            return self._call.engine.grounds.object(need.bucket, need.key, need.version, "")
        except (NoSuchKey, NoSuchVersion):
            return None

    def _context(self, need: Need, ground: Ground, more: Context) -> Context:
        """The condition keys, where a policy may ask for them."""
        if not ground.policies:
            return {}
        call = self._call
        tags: Mapping[str, str] | None = None
        if need.key and asks_for_existing_tags(ground.policies):
            found = self._object(need)
            tags = {} if found is None else found[1].tags
        facts = Facts(
            principal=call.principal,
            request=call.request,
            now_s=call.engine.now_ns() // NANOSECONDS,
            op=call.route.op,
            auth_type=call.signing.auth_type,
            signed_s=call.signing.signed_s,
            tls_version=call.request.tls_version,
            existing_tags=tags,
            request_tags=self._tags,
            more={**call.signing.more, **more},
        )
        return policy_context(facts, call.headers, call.query)
