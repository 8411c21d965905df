"""The store decides by itself where volumes belong, as weeks pass on its clock."""

from tests.engine.deciding import deciding_engine


async def test_what_nobody_reads_cools_down_for_a_reason_and_comes_back_when_it_is_read(tmp_path):
    async with deciding_engine(tmp_path) as store:
        await store.put("films/a")
        seen = [await store.tier("films/a")]
        for _ in range(60):
            await store.days()
            if await store.tier("films/a") != seen[-1]:
                seen.append(await store.tier("films/a"))
        assert seen[0] == "hot" and seen[-1] == "cold"
        for _ in range(12):
            await store.read("films/a", times=5)
            await store.days()
        assert await store.tier("films/a") in ("hot", "warm")
        told = await store.explain("films/a")
        print(told["sentence"], [(t["from"], t["to"], t["reason"]) for t in told["parts"][0]["history"]])
