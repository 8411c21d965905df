"""Whom the names of a policy mean here; what is not in the table matches nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.policy_principals import parse_name
from stratum.core.principals import ANONYMOUS, OPERATOR, OPERATOR_ID, Principal

ROOT = Principal(user="acme", name="Acme Corp.")
ANN = Principal(user="4f1e", name="ann", account="acme")
BOB = Principal(user="77aa", name="bob", account="acme")
OTHER_ANN = Principal(user="9c3d", name="ann", account="other")
ALONE = Principal(user="solo", name="ann")
EVERY = {"root": ROOT, "ann": ANN, "bob": BOB, "other": OTHER_ANN, "alone": ALONE}
EVERY |= {"operator": OPERATOR, "anonymous": ANONYMOUS}


@pytest.mark.parametrize(
    ("kind", "text", "named"),
    [
        ("AWS", "*", set(EVERY)),
        ("AWS", "acme", {"root", "ann", "bob"}),
        ("CanonicalUser", "acme", {"root", "ann", "bob"}),
        ("AWS", "4f1e", {"ann"}),
        ("CanonicalUser", "4f1e", {"ann"}),
        ("AWS", "ann", set()),
        ("AWS", OPERATOR_ID, {"operator"}),
        ("AWS", "arn:aws:iam::acme:root", {"root", "ann", "bob"}),
        ("AWS", "arn:aws:iam::solo:root", {"alone"}),
        ("AWS", "arn:aws:iam::4f1e:root", set()),
        ("AWS", "arn:aws:iam:::root", set()),
        ("AWS", "arn:aws:iam::acme:user/ann", {"ann"}),
        ("AWS", "arn:aws:iam::acme:user/4f1e", {"ann"}),
        ("AWS", "arn:aws:iam::other:user/ann", {"other"}),
        ("AWS", "arn:aws:iam::other:user/4f1e", set()),
        ("AWS", "arn:aws:iam::solo:user/solo", {"alone"}),
        ("AWS", "arn:aws:iam:::user/4f1e", {"ann"}),
        ("AWS", "arn:aws:iam:::user/ann", set()),
        ("AWS", "arn:aws:iam::acme:user/", set()),
        ("AWS", "arn:aws:iam::acme:user/path/ann", set()),
        ("AWS", "arn:aws:iam::acme:role/ann", set()),
        ("AWS", "arn:aws:iam::acme:group/ann", set()),
        ("AWS", "arn:aws:sts::acme:assumed-role/ann/ann", set()),
        ("AWS", "arn:aws:sts::acme:federated-user/ann", set()),
        ("Federated", "ann", set()),
        ("Federated", "acme", set()),
        ("Service", "acme", set()),
    ],
)
def test_a_name_means_whom_the_table_says(kind, text, named):
    name = parse_name(kind, text)
    assert {who for who, principal in EVERY.items() if name.matches(principal, "")} == named
    assert name.matches(ANONYMOUS, "a.service") is (text == "*")


texts = st.text("ab", max_size=2)


@given(st.sampled_from(["AWS", "CanonicalUser"]), texts, texts, texts)
def test_nobody_without_an_id_is_ever_named_but_by_the_star(kind, account, path, name):
    nobody = Principal(user="", name=name, account="")
    for text in (account or "a", f"arn:aws:iam::{account}:root", f"arn:aws:iam::{account}:user/{path}"):
        if kind == "AWS" or not text.startswith("arn:"):
            assert not parse_name(kind, text).matches(ANONYMOUS, "")
            assert account or not parse_name(kind, text).matches(nobody, "")


def test_the_root_of_an_account_is_known():
    assert ROOT.root and ALONE.root and OPERATOR.root
    assert not ANN.root and not ANONYMOUS.root
    assert (ANN.account_id, ALONE.account_id, ANONYMOUS.account_id) == ("acme", "solo", "")
