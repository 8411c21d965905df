"""Who asks: the value that every decision about access is made with.

Room: stratum/core. May import: nothing of ours.

A user belongs to an account. A user without one is an account of its own, and its root: so a store that knows only
single users needs no accounts at all.
"""

from dataclasses import dataclass

OPERATOR_ID = "stratum"  # canonical user id of whoever runs the server
ANONYMOUS_ID = "anonymous"  # shown as the id of nobody in particular


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who signed a request. `user`: canonical user id; both it and `account` are empty for an anonymous one."""

    user: str = ""
    name: str = ""  # display name; the friendly name in arn:aws:iam::<account>:user/<name>
    access_key: str = ""
    operator: bool = False
    anonymous: bool = False
    account: str = ""  # id of the account; empty: an account of its own, whose root it is
    role: str = ""  # name of the role it is in a session; then `user` is `role/<name>`, which is no user's id
    session: str = ""  # name of the session, as who began it said
    limits: tuple[str, ...] = ()  # policies of the session (JSON texts): what one of them does not allow is refused

    @property
    def account_id(self) -> str:
        """Id of the account whose principal this is; empty for an anonymous one."""
        return "" if self.anonymous else self.account or self.user

    @property
    def root(self) -> bool:
        """Is it the root of its account? The operator is that of its own."""
        return not self.anonymous and not self.role and self.account in ("", self.user)


ANONYMOUS = Principal(anonymous=True)
OPERATOR = Principal(user=OPERATOR_ID, name=OPERATOR_ID, operator=True)
