"""What the web console adds to the requests that it passes on to S3."""

from stratum.serve.web_endpoint import _signed


def test_looking_at_an_object_in_the_console_is_said_to_be_for_nothing():
    class Signer:
        def headers(self, request, *, now_s):
            return request.headers

    for method, expected in (("HEAD", [b"none"]), ("GET", [])):
        scope = {"method": method, "raw_path": b"/-/s3/bucket/key", "query_string": b"", "headers": []}
        sent = _signed(scope, Signer())
        assert [value for name, value in sent["headers"] if name == b"x-stratum-purpose"] == expected
