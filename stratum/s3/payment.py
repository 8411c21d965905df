"""Who pays for requests to a bucket: its owner, or whoever asks.

Room: stratum/s3. May import: core, engine, s3.{answers, call, errors, http, small_body, xml}.

Nothing is charged here: what "Requester" means is kept to the letter of the protocol, for an operator who sends bills
from the access log, where every line names the requester. Whoever is not the owner must agree to pay
(x-amz-request-payer), is refused otherwise, and is told that it was charged.
Source: docs.aws.amazon.com/AmazonS3/latest/userguide/ObjectsinRequesterPaysBuckets.html
"""

from dataclasses import replace

import msgspec

from stratum.core.records import Bucket
from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import child_text, node

OWNER, REQUESTER = "BucketOwner", "Requester"
PAYER = "x-amz-request-payer"


async def get_request_payment(call: Call) -> Response:
    """GET /bucket?requestPayment."""
    bucket = await call.engine.buckets.get(call.bucket)
    payer = REQUESTER if bucket.requester_pays else OWNER
    return xml_answer(node("RequestPaymentConfiguration", node("Payer", payer)))


async def put_request_payment(call: Call) -> Response:
    """PUT /bucket?requestPayment. Raises MalformedXML."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, "RequestPaymentConfiguration")
    payer = child_text(document, "Payer")
    if payer not in (OWNER, REQUESTER):
        raise S3Error("MalformedXML")

    def change(bucket: Bucket) -> Bucket:
        return msgspec.structs.replace(bucket, requester_pays=payer == REQUESTER)

    await call.engine.buckets.amend(call.bucket, change)
    return Response(200, [], b"")


def check_payer(call: Call, bucket: Bucket, *, owner: bool) -> None:
    """Refuse who would have to pay and has not agreed to; nobody in particular never can. Raises AccessDenied."""
    agreed = not call.principal.anonymous and call.headers.get(PAYER, "").lower() == "requester"
    if bucket.requester_pays and not (owner or agreed):
        raise S3Error("AccessDenied", "The requester pays for this bucket, and has not agreed to.")


def charged(call: Call, response: Response) -> Response:
    """Tell who agreed to pay that it was charged."""
    if PAYER not in call.headers:
        return response
    return replace(response, headers=[*response.headers, (b"x-amz-request-charged", b"requester")])
