"""Which host names a bucket, which does not, and whose word about the host is believed."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.errors import InvalidBucketName
from stratum.core.names import check_bucket_name
from stratum.s3.hosts import Hosts, bucket_of, networks
from stratum.s3.http import Request

DOMAINS = ("s3.example.org", "example.org", "localhost")

labels = st.text("abc019-", min_size=1, max_size=8).filter(lambda text: text.strip("-") == text)
names = st.lists(labels, min_size=1, max_size=4).map(".".join)


def allowed(name: str) -> bool:
    try:
        check_bucket_name(name)
    except InvalidBucketName:
        return False
    return True


@given(names.filter(allowed), st.sampled_from(DOMAINS), st.sampled_from(["", ":1", ":65535", ".", ".:80"]))
def test_any_bucket_below_any_domain_is_found_whatever_the_port_and_the_case(name, domain, end):
    host = f"{name}.{domain}{end}"
    if not (name + "." + domain).endswith(".s3.example.org") or domain == "s3.example.org":
        assert bucket_of(host, DOMAINS) == bucket_of(host.upper(), DOMAINS) == name


@pytest.mark.parametrize(
    "host",
    [
        "", "localhost", "LOCALHOST:9000", "s3.example.org", "example.org.", "elsewhere.net", "bucket.elsewhere.net",
        "notlocalhost", "ab.localhost", "-bad-.localhost", "a..b.localhost", "127.0.0.1", "127.0.0.1:9000",
        "[::1]:9000", "::1", "bucket.localhost:99999999", "bucket.localhost,other.localhost", "bucket/x.localhost",
        "büc.localhost", "192.168.0.1.localhost", ".localhost", "a" * 300 + ".localhost",
    ],
)  # fmt: skip
def test_what_is_not_surely_a_bucket_is_path_style(host):
    assert bucket_of(host, DOMAINS) is None


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), st.binary(max_size=40))
def test_whatever_is_sent_as_a_host_a_bucket_is_one_or_it_is_path_style(host, forwarded):
    headers = [(b"host", host + b".localhost"), (b"x-forwarded-host", forwarded), (b"x-forwarded-for", forwarded)]
    request = Request(method="GET", raw_path=b"/", headers=headers, peer="10.0.0.1")
    arrived = Hosts(DOMAINS, (), networks(("10.0.0.1",))).arrived(request)
    assert arrived.bucket is None or allowed(arrived.bucket)


def test_the_longest_domain_counts():
    assert bucket_of("one.s3.example.org", DOMAINS) == "one"
    assert bucket_of("one.two.example.org", DOMAINS) == "one.two"
    assert bucket_of("one.s3.example.org", ("example.org",)) == "one.s3"


def test_an_address_is_never_taken_apart_even_if_the_domains_would_allow_it():
    assert bucket_of("127.100.100.1", ("100.1",)) is None


# --- proxies ----------------------------------------------------------------------------------------------------


def forwarded(peer: str) -> Request:
    headers = [
        (b"host", b"inside:9000"),
        (b"x-forwarded-host", b"bucket.s3.example.org"),
        (b"x-forwarded-for", b"1.1.1.1, 203.0.113.9, 10.0.0.8"),
        (b"x-forwarded-proto", b"https"),
    ]
    return Request(method="GET", raw_path=b"/k", headers=headers, peer=peer)


@pytest.mark.parametrize("proxies, peer", [((), "10.0.0.7"), (("10.0.0.0/8",), "11.0.0.7"), (("10.0.0.0/8",), "")])
def test_forwarded_headers_of_others_change_nothing(proxies, peer):
    request = forwarded(peer)
    assert Hosts(DOMAINS, (), networks(proxies)).arrived(request) == request


@pytest.mark.parametrize("peer", ["10.0.0.7", "::ffff:10.0.0.7"])
def test_a_configured_proxy_tells_host_scheme_and_the_last_client_that_is_no_proxy(peer):
    arrived = Hosts(DOMAINS, (), networks(("10.0.0.0/8",))).arrived(forwarded(peer))
    assert (arrived.bucket, arrived.header("host")) == ("bucket", "bucket.s3.example.org")
    assert (arrived.peer, arrived.scheme) == ("203.0.113.9", "https")
    assert arrived.raw_path == b"/k"


# --- a real client ----------------------------------------------------------------------------------------------


@pytest.fixture
def everywhere_is_here(monkeypatch):
    """Every name below localhost is this machine: not all resolvers know (RFC 6761)."""
    ask = socket.getaddrinfo

    def answer(host, *arguments, **named):
        here = isinstance(host, str) and host.endswith("localhost")
        return ask("127.0.0.1" if here else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("bucket", ["bucket", "with.dots.in-it"])
async def test_boto3_in_virtual_hosted_style_sees_the_same_objects(endpoint, everywhere_is_here, bucket):
    client = endpoint.virtual_client()
    if bucket != "bucket":
        await endpoint.call("create_bucket", Bucket=bucket)

    def work() -> None:
        for key in ("a", "a//b", "/lead", "dir/", "-/x", "ü %2F?"):
            client.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert {each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]} == {
            "a", "a//b", "/lead", "dir/", "-/x", "ü %2F?",
        }  # fmt: skip
        client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a//b"})
        assert client.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"a//b"
        assert bucket in {each["Name"] for each in client.list_buckets()["Buckets"]}

    await endpoint.run(work)
    assert await endpoint.body("/lead", bucket) == b"/lead"


async def test_a_signature_for_one_host_is_worth_nothing_at_another(endpoint, everywhere_is_here):
    await endpoint.call("create_bucket", Bucket="other")
    for bucket in ("bucket", "other"):
        await endpoint.call("put_object", Bucket=bucket, Key="k", Body=bucket.encode())
    url = endpoint.virtual_client().generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    target = url.partition("/k?")[2]
    for host, status in (("bucket", b"200"), ("other", b"403")):
        sent = f"GET /k?{target} HTTP/1.1\r\nHost: {host}.localhost:{endpoint.port}\r\nConnection: close\r\n\r\n"
        assert (await endpoint.raw(sent.encode())).split(b" ")[1] == status


def test_of_a_domain_for_sites_and_one_for_requests_the_longer_counts():
    hosts = Hosts(("s3.web.example.org", "example.org"), ("web.example.org", "localhost"))

    def asked(host: str) -> tuple[str | None, bool]:
        arrived = hosts.arrived(Request(method="GET", raw_path=b"/", headers=[(b"host", host.encode())]))
        return arrived.bucket, arrived.website

    assert asked("one.web.example.org") == ("one", True)
    assert asked("one.s3.web.example.org") == ("one", False)
    assert asked("one.example.org") == ("one", False)
    assert asked("web.example.org") == (None, False), "no bucket is named"
    assert asked("one.localhost:80") == ("one", True)
    assert asked("localhost:80") == (None, False)
