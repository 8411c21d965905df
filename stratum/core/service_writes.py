"""May a service of this server write into a bucket for another one? The policy of that bucket says so, or nobody does.

Room: stratum/core. May import: core.{policy, principals}.

Invariants
    W1  A service writes only where a statement lets it by its name: a policy for everyone names no service.
"""

from collections.abc import Mapping

from stratum.core.policy import AccessRequest, Effect, Policy, Verdict, evaluate, resource_arn
from stratum.core.principals import ANONYMOUS, OPERATOR_ID


def service_may_put(
    policy: Policy | None,
    service: str,
    *,
    target: str,
    prefix: str,
    source: str,
    account: str,
    more: Mapping[str, tuple[str, ...]] | None = None,
) -> bool:
    """May `service` put keys with `prefix` into the bucket `target`, which has that policy, for the bucket `source`?

    `account`: the owner of `source`; empty: the operator. `more`: further condition keys.
    """
    if policy is None:
        return False
    request = AccessRequest(
        principal=ANONYMOUS,
        action="s3:PutObject",
        resource=f"{resource_arn(target)}/{prefix}",
        context={
            "aws:sourcearn": (resource_arn(source),),
            "aws:sourceaccount": (account or OPERATOR_ID,),
            "aws:securetransport": ("true",),
            **(more or {}),
        },
        service=service,
    )
    naming = Policy(
        tuple(
            each
            for each in policy.statements
            if each.effect is Effect.ALLOW and any(name.kind == "Service" for name in each.principals)
        )
    )
    return evaluate([policy], request) is Verdict.ALLOW and evaluate([naming], request) is Verdict.ALLOW
