"""What policies say about a request, compared with a small evaluator that works on the JSON itself."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.policy import (
    AccessRequest,
    Policy,
    Verdict,
    asks_for_existing_tags,
    evaluate,
    parse_policy,
    resource_arn,
)
from stratum.core.principals import ANONYMOUS, OPERATOR, Principal

BUCKET = "b"
PRINCIPALS = [
    ANONYMOUS,
    OPERATOR,
    Principal(user="u1", name="ann", account="acme"),
    Principal(user="u2", name="bob", account="acme"),
    Principal(user="acme", name="ann"),
    Principal(user="u3", name="*"),
]
NAMES = ["*", "acme", "u1", "u3", "arn:aws:iam::acme:root", "arn:aws:iam::acme:user/ann", "arn:aws:iam::acme:user/u2"]
NAMES += ["arn:aws:iam:::user/u1", "arn:aws:iam::u3:root", "arn:aws:iam::acme:role/ann", "arn:aws:iam:::user/ann"]
ACTIONS = ["s3:GetObject", "s3:GetObjectAcl", "s3:PutObject", "s3:ListBucket"]
ACTION_PATTERNS = ["*", "s3:*", "s3:Get*", "S3:GETOBJECT", "s3:???Object", "s3:PutObject", "s3:*Object*"]
RESOURCES = ["arn:aws:s3:::b", "arn:aws:s3:::b/a", "arn:aws:s3:::b/ann/x", "arn:aws:s3:::b/a*", "arn:aws:s3:::b/?"]
RESOURCE_PATTERNS = [*RESOURCES, "arn:aws:s3:::*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/${aws:username}/*"]
KEY = "s3:prefix"
VALUES = ["", "a", "A", "ab", "b", "a*"]


# --- the other evaluator: 50 lines, by the words of the IAM manual ---------------------------------------------


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def like(pattern: str, text: str, context) -> bool:
    out = ""
    for part in re.split(r"(\$\{[^}]+\}|\*|\?)", pattern):
        if part.startswith("${"):
            found = context.get(part[2:-1].lower(), ())
            if len(found) != 1:
                return False
            out += re.escape(found[0])
        else:
            out += {"*": ".*", "?": "."}.get(part, re.escape(part))
    return re.fullmatch(out, text, re.DOTALL) is not None


def is_named(name: str, who: Principal) -> bool:
    if name == "*":
        return True
    if who.anonymous:
        return False
    account = who.account or who.user
    mine = {account, who.user, f"arn:aws:iam::{account}:root", f"arn:aws:iam:::user/{who.user}"}
    return name in mine | {f"arn:aws:iam::{account}:user/{own}" for own in (who.user, who.name)}


def holds(operator: str, key: str, wanted, context) -> bool:
    found = context.get(key.lower(), ())
    if operator == "Null":
        return any((len(found) == 0) == (value == "true") for value in listed(wanted))
    prefix, _, rest = operator.rpartition(":")
    base = rest.removesuffix("IfExists")
    if not found and rest != base:
        return True
    positive = base.replace("Not", "")
    compare = (lambda w, v: like(w, v, context)) if positive == "StringLike" else (lambda w, v: w == v)
    hits = [any(compare(w, v) for w in listed(wanted)) for v in found]
    if base != positive:  # negated: of each value of the request, that it equals none of the policy's
        misses = [not hit for hit in hits]
        return any(misses) if prefix == "ForAnyValue" else all(misses)
    return all(hits) if prefix == "ForAllValues" else any(hits)


def speaks_of(statement: dict, asked: AccessRequest) -> bool:
    def element(name: str, match) -> bool:
        negated = f"Not{name}" in statement
        return any(map(match, listed(statement[f"Not{name}" if negated else name]))) != negated

    def names(value) -> bool:
        return any(
            is_named(name, asked.principal) for name in listed(value["AWS"] if isinstance(value, dict) else value)
        )

    return (
        element("Principal", names)
        and element("Action", lambda text: like(text.lower(), asked.action.lower(), {}))
        and element("Resource", lambda text: like(text, asked.resource, asked.context))
        and all(
            holds(operator, key, wanted, asked.context)
            for operator, lines in statement.get("Condition", {}).items()
            for key, wanted in lines.items()
        )
    )


def by_the_book(documents: list[dict], asked: AccessRequest) -> Verdict:
    effects = [each["Effect"] for document in documents for each in document["Statement"] if speaks_of(each, asked)]
    return Verdict.DENY if "Deny" in effects else Verdict.ALLOW if effects else Verdict.NONE


# --- any policy, any request -----------------------------------------------------------------------------------


def one_or_more(values: list[str]):
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, max_size=3)


def either(name: str, values):
    return st.tuples(st.sampled_from([name, f"Not{name}"]), values)


operators = st.builds(
    lambda prefix, base, suffix: prefix + base + suffix,
    st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]),
    st.sampled_from(["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"]),
    st.sampled_from(["", "IfExists"]),
)
lines = st.dictionaries(st.sampled_from([KEY, "S3:Prefix", "aws:Referer"]), one_or_more(VALUES), min_size=1, max_size=2)
null_lines = st.dictionaries(st.just(KEY), one_or_more(["true", "false"]), min_size=1)
conditions = st.dictionaries(operators, lines, max_size=2) | st.fixed_dictionaries({"Null": null_lines})


@st.composite
def statements(draw) -> dict:
    effect = draw(st.sampled_from(["Allow", "Deny"]))
    names = one_or_more(NAMES).map(lambda found: {"AWS": found}) | st.just("*")
    principal = either("Principal", names) if effect == "Deny" else st.tuples(st.just("Principal"), names)
    made = dict([draw(principal), draw(either("Action", one_or_more(ACTION_PATTERNS)))])
    made |= dict([draw(either("Resource", one_or_more(RESOURCE_PATTERNS)))])
    return made | {"Effect": effect, "Condition": draw(conditions)}


documents = st.lists(statements(), min_size=1, max_size=3).map(
    lambda found: {"Version": "2012-10-17", "Statement": found}
)
contexts = st.dictionaries(
    st.sampled_from([KEY, "aws:referer", "aws:username"]), st.lists(st.sampled_from(VALUES), max_size=3).map(tuple)
)
requests = st.builds(
    AccessRequest,
    principal=st.sampled_from(PRINCIPALS),
    action=st.sampled_from(ACTIONS),
    resource=st.sampled_from(RESOURCES),
    context=contexts,
)


def parsed(document: dict) -> Policy:
    return parse_policy(json.dumps(document), BUCKET)


@settings(max_examples=400)
@given(st.lists(documents, max_size=2), requests)
def test_the_verdict_is_that_of_the_book(found, asked):
    assert evaluate([parsed(each) for each in found], asked) is by_the_book(found, asked)


@given(st.lists(documents, max_size=2), statements(), requests, st.integers(0, 2))
def test_an_explicit_deny_wins_wherever_it_stands(found, deny, asked, at):
    deny |= {"Effect": "Deny"}
    alone = {"Version": "2012-10-17", "Statement": [deny]}
    found.insert(min(at, len(found)), alone)
    policies = [parsed(each) for each in found]
    if evaluate([parsed(alone)], asked) is Verdict.DENY:
        assert evaluate(policies, asked) is Verdict.DENY
    one = {"Version": "2012-10-17", "Statement": [each for document in found for each in document["Statement"]]}
    assert evaluate([parsed(one)], asked) is evaluate(policies, asked)


@given(documents, requests)
def test_adding_a_deny_never_lets_more_in_and_adding_an_allow_never_less_than_a_deny(found, asked):
    before = evaluate([parsed(found)], asked)
    everyone = {"Principal": "*", "Action": "*", "Resource": "arn:aws:s3:::*"}
    for effect in ("Allow", "Deny"):
        more = found["Statement"] + [{"Effect": effect} | everyone]
        after = evaluate([parsed(found | {"Statement": more})], asked)
        assert after is (Verdict.DENY if effect == "Deny" or before is Verdict.DENY else Verdict.ALLOW)


def test_no_policy_says_nothing():
    asked = AccessRequest(principal=OPERATOR, action="s3:GetObject", resource=resource_arn("b", b"k"), context={})
    assert evaluate([], asked) is Verdict.NONE


def test_a_service_is_named_by_its_own_name_and_no_client_is_a_service():
    policy = parsed(
        {
            "Statement": {
                "Effect": "Allow",
                "Principal": {"Service": "logging.s3.amazonaws.com"},
                "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::b/*",
            }
        }
    )

    def asked(principal: Principal, service: str = "") -> Verdict:
        resource = resource_arn("b", b"log/1")
        return evaluate(
            [policy],
            AccessRequest(principal=principal, action="s3:PutObject", resource=resource, context={}, service=service),
        )

    assert asked(ANONYMOUS, "logging.s3.amazonaws.com") is Verdict.ALLOW
    assert asked(ANONYMOUS, "other.amazonaws.com") is Verdict.NONE
    assert asked(ANONYMOUS) is Verdict.NONE
    assert asked(Principal(user="logging.s3.amazonaws.com")) is Verdict.NONE


def test_tags_of_the_object_are_asked_for_only_where_a_statement_looks_at_them():
    plain = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}
    looks = [
        {"Condition": {"StringEquals": {"S3:ExistingObjectTag/Team": "a"}}},
        {"Condition": {"StringEquals": {"aws:userid": "${s3:ExistingObjectTag/owner}"}}},
        {"Resource": "arn:aws:s3:::b/${s3:ExistingObjectTag/owner}"},
    ]
    assert not asks_for_existing_tags([parsed({"Statement": plain})])
    for more in looks:
        assert asks_for_existing_tags([parsed({"Version": "2012-10-17", "Statement": plain | more})])
