"""Deciding: which tier each volume belongs in, when to say so, and why.

Room: stratum/engine. May import: core, store, engine.{heat, surroundings, tiers, tiering_*}.

The rule is core.tiering.rule, the same as of `stratum replay`. Every evening (of a UTC day) what the day brought is
folded into the evidence of volumes and of groups, volumes that are due are looked at, and those that belong elsewhere
become wishes (engine.tiers.want) as fast as the budgets allow. A spike is looked at at once.

For doors and other services:

    await engine.tiering.explain_object(bucket, key, version, at_ns=None) -> dict    everything, ready for JSON
    await engine.tiering.sentence(bucket, key, version) -> str                       why it is where it is
    engine.tiering.reason_of(view) -> str                                            a short code, for a header
    await engine.tiering.report() -> list[dict]                                      weeks, the newest first
    await engine.tiering.catch_up()                                                  do now all that is due by the clock

Hooks, for services that know more of a volume:

    engine.tiering.classify = f     f(view) -> str: the type that a volume's group is told apart by
    engine.tiering.advisers.append(f)   f(volume, situation) -> situation: a last word before the rule decides
    engine.heat.watchers.append(f)      every read, as it happens

Wishes of users come from the inode: metadata `stratum-pin`, `stratum-hint`, the tags of these names, the attributes
user.stratum.pin and user.stratum.hint of a mounted file, which are the same metadata; and from the bucket.
"""
