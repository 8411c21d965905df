"""Request headers that ask for something Stratum does not do yet: refused by name, never ignored.

Room: stratum/s3. May import: s3.{call, errors}.

An object that was to be encrypted, locked or tagged and silently is not would be worse than a refusal.
"""

from stratum.s3.call import Call
from stratum.s3.errors import S3Error

UNSERVED = ("x-amz-write-offset-bytes",)


def refuse_unserved(call: Call) -> None:
    """Raise S3Error NotImplemented."""
    for name in call.headers:
        if name.startswith(UNSERVED):
            raise S3Error("NotImplemented", Header=name)
