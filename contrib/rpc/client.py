"""A small client of the native interface, to read and to copy from: contrib/rpc/client.py HOST:PORT BUCKET [PREFIX]

It needs grpcio, protobuf and botocore, and stratum/rpc (or code made from stratum/rpc/stratum.proto). The keys are
those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""

import os
import sys

import grpc
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stratum.rpc.messages import PACKAGE, message, methods


class Client:
    """Calls of one key: client.Objects.Head(Name(...)), client.Objects.Put(iterator) ..."""

    def __init__(self, channel: grpc.Channel, access_key: str, secret_key: str, region: str = "us-east-1") -> None:
        self._credentials = Credentials(access_key, secret_key)
        self._region = region
        self.Objects, self.Store = (self._service(channel, name) for name in ("Objects", "Store"))

    def _service(self, channel: grpc.Channel, name: str) -> object:
        calls = {}
        for method, (request, response, takes, gives) in methods(name).items():
            path = f"/{PACKAGE}.{name}/{method}"
            kind = f"{'stream' if takes else 'unary'}_{'stream' if gives else 'unary'}"
            call = getattr(channel, kind)(
                path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
            )
            calls[method] = staticmethod(self._signed(call, path))
        return type(name, (), calls)()

    def _signed(self, call, path: str):
        def run(request, timeout: float = 60.0):
            signed = AWSRequest("POST", f"http://stratum{path}")
            signer = S3SigV4Auth(self._credentials, "s3", self._region)
            signed.context["payload_signing_enabled"] = False
            signed.context["client_config"] = None
            signer.add_auth(signed)
            metadata = [(name.lower(), value) for name, value in signed.headers.items()]
            return call(request, timeout=timeout, metadata=metadata)

        return run


def main() -> None:
    """List a bucket."""
    address, bucket, prefix = (*sys.argv[1:3], sys.argv[3] if len(sys.argv) > 3 else "")
    with grpc.insecure_channel(address) as channel:
        client = Client(channel, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        for entry in client.Objects.List(message("ListRequest")(bucket=bucket, prefix=prefix)):
            print(f"{entry.size:>14}  {entry.last_modified}  {entry.key}")


if __name__ == "__main__":
    main()
