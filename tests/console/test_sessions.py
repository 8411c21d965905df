"""Logging in to the console: what lets somebody in, for how long, and how much is remembered."""

import pytest

from stratum.console import sessions as words
from stratum.console.sessions import Refused, Sessions, TooMany
from stratum.core.errors import NoSuchCredential


class Keys:
    """Two keys, as engine.credentials would know them."""

    def __init__(self):
        self.secrets = {"ROOT": "root-secret", "USER": "user-secret"}

    def secret_of(self, access_key):
        if access_key not in self.secrets:
            raise NoSuchCredential(access_key)
        return self.secrets[access_key]

    principal_of = secret_of


class Clock:
    """Seconds, moved by hand."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys():
    return Keys()


@pytest.fixture
def sessions(keys, clock):
    return Sessions(keys, clock)


def test_the_right_secret_logs_in_and_nothing_else_does(sessions):
    assert sessions.holder(sessions.log_in("USER", "user-secret")) == "USER"
    for pair in (("USER", "root-secret"), ("USER", ""), ("NOBODY", "x" * 40), ("", "")):
        with pytest.raises(Refused, match="wrong"):
            sessions.log_in(*pair)
    for token in ("", "guess"):
        with pytest.raises(Refused, match="log in"):
            sessions.holder(token)


def test_a_session_ends_when_it_rests_when_it_is_old_and_when_it_is_ended(sessions, clock):
    token = sessions.log_in("ROOT", "root-secret")
    for _ in range(int(words.SESSION_SECONDS / words.IDLE_SECONDS)):
        clock.now += words.IDLE_SECONDS
        assert sessions.holder(token) == "ROOT"
    clock.now += 1
    with pytest.raises(Refused, match="over"):
        sessions.holder(token)
    resting = sessions.log_in("ROOT", "root-secret")
    clock.now += words.IDLE_SECONDS + 1
    with pytest.raises(Refused, match="over"):
        sessions.holder(resting)
    ended = sessions.log_in("ROOT", "root-secret")
    sessions.end(ended)
    with pytest.raises(Refused):
        sessions.holder(ended)


def test_a_session_ends_with_its_key(sessions, keys):
    token = sessions.log_in("USER", "user-secret")
    del keys.secrets["USER"]
    with pytest.raises(Refused, match="deleted"):
        sessions.holder(token)


def test_a_ticket_is_good_once_and_for_a_minute(sessions, clock):
    ticket, late = sessions.ticket("ROOT"), sessions.ticket("ROOT")
    assert sessions.holder(sessions.redeem(ticket)) == "ROOT"
    clock.now += words.TICKET_SECONDS + 1
    for used in (ticket, late, "guess"):
        with pytest.raises(Refused, match="another"):
            sessions.redeem(used)


def test_too_many_wrong_secrets_close_the_door_for_a_while_even_to_the_right_one(sessions, clock):
    for _ in range(words.REFUSALS_MAX):
        with pytest.raises(Refused):
            sessions.log_in("USER", "guess")
    for attempt in (lambda: sessions.log_in("USER", "user-secret"), lambda: sessions.redeem("x")):
        with pytest.raises(TooMany):
            attempt()
    clock.now += words.REFUSAL_SECONDS + 1
    assert sessions.log_in("USER", "user-secret")


def test_as_many_sessions_are_kept_as_the_limit_says_and_the_resting_ones_go(sessions):
    first, second, *_ = [sessions.log_in("USER", "user-secret") for _ in range(words.SESSIONS_MAX)]
    sessions.holder(first)
    sessions.log_in("USER", "user-secret")
    assert sessions.holder(first) == "USER"
    with pytest.raises(Refused):
        sessions.holder(second)


def test_tokens_are_not_kept_as_they_are(sessions):
    token = sessions.log_in("USER", "user-secret")
    assert all(token.encode() not in key for key in sessions._open)
