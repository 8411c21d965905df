"""Who pays for requests: the owner of the bucket, since nobody is charged for anything here.

Room: stratum/s3. May import: engine, s3.{answers, call, errors, http, small_body, xml}.

"Requester" would promise that requests without x-amz-request-payer are refused and others billed; it is refused.
"""

from stratum.s3.answers import xml_answer
from stratum.s3.call import Call
from stratum.s3.errors import S3Error
from stratum.s3.http import Response
from stratum.s3.small_body import read_xml
from stratum.s3.xml import child_text, node


async def get_request_payment(call: Call) -> Response:
    """GET /bucket?requestPayment."""
    await call.engine.buckets.get(call.bucket)
    return xml_answer(node("RequestPaymentConfiguration", node("Payer", "BucketOwner")))


async def put_request_payment(call: Call) -> Response:
    """PUT /bucket?requestPayment. Raises MalformedXML, NotImplemented."""
    document = await read_xml(call.payload, call.engine.limits.xml_bytes, "RequestPaymentConfiguration")
    await call.engine.buckets.get(call.bucket)
    payer = child_text(document, "Payer")
    if payer == "Requester":
        raise S3Error("NotImplemented", "Nobody is charged for requests here, so no requester can be.", Payer=payer)
    if payer != "BucketOwner":
        raise S3Error("MalformedXML")
    return Response(200, [], b"")
