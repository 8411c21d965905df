"""Intelligent-Tiering configurations over S3: stored, shown, listed.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, small_body, tagging, xml}.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketIntelligentTieringConfiguration.html
"""

import re

from stratum.core.intelligent_tiering import (
    CONFIGURATIONS_MAX,
    ID_CHARACTERS,
    KIND,
    ArchiveTier,
    TieringConfiguration,
    TieringConfigurations,
)
from stratum.core.tagging import OBJECT_TAGS, checked_tags
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import Node, child_text, children, node

ROOT = "IntelligentTieringConfiguration"
DAYS = {"ARCHIVE_ACCESS": (90, 730), "DEEP_ARCHIVE_ACCESS": (180, 730)}
PAGE = 100  # configurations

_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)


async def get_intelligent_tiering(call: Call) -> Response:
    """GET /bucket?intelligent-tiering, one (`id`) or a page of all."""
    found = (await _stored(call)).configurations
    if "id" in call.query:
        wanted = call.query["id"]
        if wanted not in found:
            raise S3Error("NoSuchConfiguration")
        return xml_answer(_shown(wanted, found[wanted]))
    after = call.query.get("continuation-token", "")
    names = [name for name in sorted(found) if name > after]
    page, more = names[:PAGE], len(names) > PAGE
    parts = [node("IsTruncated", "true" if more else "false")]
    parts += [node("ContinuationToken", after)] if after else []
    parts += [node("NextContinuationToken", page[-1])] if more else []
    parts += [_shown(name, found[name]) for name in page]
    return xml_answer(node("ListBucketIntelligentTieringConfigurationsOutput", *parts))


async def put_intelligent_tiering(call: Call) -> Response:
    """PUT /bucket?intelligent-tiering&id."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, ROOT)
    name, configuration = _parse(document)
    if name != call.query.get("id"):
        raise S3Error("InvalidArgument", "The id of the document is not that of the request.", ArgumentName="id")

    def change(stored: TieringConfigurations | None) -> TieringConfigurations:
        found = stored.configurations if stored is not None else {}
        if name not in found and len(found) >= CONFIGURATIONS_MAX:
            raise S3Error("TooManyConfigurations")
        return TieringConfigurations({**found, name: configuration})

    await call.engine.configurations.amend(call.bucket, KIND, TieringConfigurations, change)
    return Response(200, [], b"")


async def delete_intelligent_tiering(call: Call) -> Response:
    """DELETE /bucket?intelligent-tiering&id: 204 also if there was none."""
    gone = call.query.get("id", "")

    def change(stored: TieringConfigurations | None) -> TieringConfigurations:
        found = stored.configurations if stored is not None else {}
        return TieringConfigurations({name: each for name, each in found.items() if name != gone})

    await call.engine.configurations.amend(call.bucket, KIND, TieringConfigurations, change)
    return Response(204, [], b"")


async def _stored(call: Call) -> TieringConfigurations:
    return await call.engine.configurations.get(call.bucket, KIND, TieringConfigurations) or TieringConfigurations()


def _parse(document: Node) -> tuple[str, TieringConfiguration]:
    name, status = child_text(document, "Id"), child_text(document, "Status")
    tiers = [_tier(each) for each in children(document, "Tiering")]
    if not name or len(name) > ID_CHARACTERS or status not in ("Enabled", "Disabled"):
        raise S3Error("MalformedXML")
    if not tiers or len({each.tier for each in tiers}) < len(tiers):
        raise S3Error("MalformedXML")
    prefix, tags = _filter(document)
    return name, TieringConfiguration(status == "Enabled", tuple(tiers), prefix, tags)


def _tier(element: Node) -> ArchiveTier:
    tier, days = child_text(element, "AccessTier") or "", child_text(element, "Days") or ""
    if tier not in DAYS or not _NUMBER.fullmatch(days.strip()):
        raise S3Error("MalformedXML")
    least, most = DAYS[tier]
    if not least <= int(days) <= most:
        raise S3Error("InvalidArgument", f"Days of {tier} must be from {least} to {most}.", ArgumentName="Days")
    return ArchiveTier(tier, int(days))


def _filter(document: Node) -> tuple[str | None, dict[str, str]]:
    filters = children(document, "Filter")
    inside = filters[0] if filters else node("Filter")
    both = children(inside, "And")
    inside = both[0] if both else inside
    tags = [(child_text(each, "Key") or "", child_text(each, "Value") or "") for each in children(inside, "Tag")]
    return child_text(inside, "Prefix"), checked_tags(tags, OBJECT_TAGS)


def _shown(name: str, configuration: TieringConfiguration) -> Node:
    inside = [node("Prefix", configuration.prefix)] if configuration.prefix is not None else []
    inside += [node("Tag", node("Key", key), node("Value", value)) for key, value in configuration.tags.items()]
    kept = [node("And", *inside)] if len(inside) > 1 else inside
    tiers = [
        node("Tiering", node("AccessTier", each.tier), node("Days", str(each.days))) for each in configuration.tiers
    ]
    return node(
        ROOT,
        node("Id", name),
        *([node("Filter", *kept)] if kept else []),
        node("Status", "Enabled" if configuration.enabled else "Disabled"),
        *tiers,
    )
