"""What policies may ask about a request: derived by the server, from a fixed table."""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.policy_keys import _KEYS
from stratum.core.principals import ANONYMOUS, Principal
from stratum.s3.http import Request
from stratum.s3.policy_context import BY_HEADER, Facts, policy_context, principal_arn
from stratum.s3.routes import Op

ANN = Principal(user="4f1e", name="ann", account="acme")
NOW = 1_800_000_000


def context(headers=None, query=None, principal=ANN, peer="192.0.2.7", scheme="https", **facts):
    request = Request(method="GET", raw_path=b"/bucket", peer=peer, scheme=scheme)
    asked = Facts(principal=principal, request=request, now_s=NOW, **facts)
    return policy_context(asked, headers or {}, query or {})


def test_who_asks_from_where_and_when_is_the_servers_knowledge():
    found = context(auth_type=BY_HEADER, signed_s=NOW - 5, tls_version="1.3")
    assert found == {
        "aws:currenttime": ("2027-01-15T08:00:00Z",),
        "aws:epochtime": (str(NOW),),
        "aws:principalaccount": ("acme",),
        "aws:principalarn": ("arn:aws:iam::acme:user/ann",),
        "aws:principaltype": ("User",),
        "aws:securetransport": ("true",),
        "aws:sourceip": ("192.0.2.7",),
        "aws:userid": ("4f1e",),
        "aws:username": ("ann",),
        "s3:authtype": ("REST-HEADER",),
        "s3:signatureage": ("5000",),
        "s3:signatureversion": ("AWS4-HMAC-SHA256",),
        "s3:tlsversion": ("1.3",),
    }


def test_an_anonymous_request_has_no_name_and_no_signature():
    found = context(principal=ANONYMOUS, scheme="http")
    assert found["aws:principaltype"] == ("Anonymous",)
    assert found["aws:securetransport"] == ("false",)
    for key in ("aws:principalarn", "aws:principalaccount", "aws:username", "s3:authtype", "s3:signatureversion"):
        assert key not in found


def spellings(key: str) -> list[str]:
    """How a client might try to name a condition key itself."""
    bare = key.partition(":")[2]
    return [key, bare, key.replace(":", "-"), f"x-amz-{bare}", f"x-amz-meta-{key}", f"x-{bare}", key.replace(":", "_")]


# The client itself says these, and policies know it.
SAID = {name for name in _KEYS if name.startswith("s3:x-amz-")} | {"s3:object-lock-mode", "s3:object-lock-legal-hold"}
SAID |= {"s3:object-lock-retain-until-date", "s3:object-lock-remaining-retention-days"}
SAID |= {"aws:referer", "aws:useragent", "s3:if-match", "s3:if-none-match"}
SAID |= {"s3:prefix", "s3:delimiter", "s3:max-keys", "s3:versionid"}


def test_a_header_or_parameter_named_like_a_condition_key_does_not_matter():
    keys = _KEYS | {"s3:existingobjecttag/a", "s3:requestobjecttag/a"}
    for key in keys - SAID:
        forged = dict.fromkeys(spellings(key), "forged") | {"x-forwarded-for": "10.0.0.1", "forwarded": "for=10.0.0.1"}
        found = context(forged, forged, existing_tags={"a": "real"})
        changed = {name for name in found if "forged" in found[name]}
        assert changed <= SAID - {key}, key
        assert found["aws:sourceip"] == ("192.0.2.7",)
        assert found["s3:existingobjecttag/a"] == ("real",)


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_no_header_and_no_parameter_changes_what_the_server_knows(headers, query):
    headers = {name: value for name, value in headers.items() if name not in ("x-amz-tagging", "x-amz-copy-source")}
    plain = context(auth_type=BY_HEADER, signed_s=NOW)
    assert plain.items() <= context(headers, query, auth_type=BY_HEADER, signed_s=NOW).items()


def test_what_the_client_says_is_found_under_the_keys_that_say_so():
    headers = {"referer": "https://example.org/", "user-agent": "curl", "x-amz-acl": "public-read"}
    headers |= {"x-amz-copy-source": "/source/a%20b?versionId=7", "x-amz-grant-read": "id=bob", "if-none-match": "*"}
    headers |= {"x-amz-server-side-encryption-customer-algorithm": "AES256"}
    found = context(headers, {"prefix": "", "max-keys": "5", "versionId": "7"}, op=Op.COPY_OBJECT)
    wanted = {
        "aws:referer": ("https://example.org/",),
        "aws:useragent": ("curl",),
        "s3:if-none-match": ("*",),
        "s3:max-keys": ("5",),
        "s3:objectcreationoperation": ("true",),
        "s3:prefix": ("",),
        "s3:versionid": ("7",),
        "s3:x-amz-acl": ("public-read",),
        "s3:x-amz-copy-source": ("source/a b",),
        "s3:x-amz-grant-read": ("id=bob",),
        "s3:x-amz-server-side-encryption-customer-algorithm": ("AES256",),
    }
    assert wanted.items() <= found.items()


def test_tags_of_the_request_and_of_the_object_are_kept_apart():
    found = context({"x-amz-tagging": "Team=red&kind=a%20b"}, existing_tags={"team": "blue", "TEAM": "grey"})
    assert found["s3:requestobjecttag/team"] == ("red",)
    assert found["s3:requestobjecttag/kind"] == ("a b",)
    assert found["s3:requestobjecttagkeys"] == ("Team", "kind")
    assert found["s3:existingobjecttag/team"] == ("blue", "grey")
    told = context({"x-amz-tagging": "team=red"}, request_tags={"team": "of the body"})
    assert told["s3:requestobjecttag/team"] == ("of the body",)


def test_days_of_retention_that_remain_are_rounded_up():
    for until, days in (
        ("2027-01-16T08:00:00Z", "1"),
        ("2027-01-16T08:00:01Z", "2"),
        ("2027-01-16T10:00:00+02:00", "1"),
    ):
        found = context({"x-amz-object-lock-retain-until-date": until, "x-amz-object-lock-mode": "GOVERNANCE"})
        assert found["s3:object-lock-remaining-retention-days"] == (days,)
        assert found["s3:object-lock-mode"] == ("GOVERNANCE",)


def test_more_goes_over_what_was_sent():
    assert context({}, {"prefix": "theirs"}, more={"s3:prefix": ("ours",)})["s3:prefix"] == ("ours",)


def test_the_root_of_an_account_has_the_arn_of_the_root():
    assert principal_arn(Principal(user="4f1e", name="ann")) == "arn:aws:iam::4f1e:root"
    assert principal_arn(Principal(user="4f1e", account="acme")) == "arn:aws:iam::acme:user/4f1e"
