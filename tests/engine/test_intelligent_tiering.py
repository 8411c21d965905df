"""Class INTELLIGENT_TIERING: the tiering service decides, and configurations of the bucket say when cold begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.intelligent_tiering import (
    KIND,
    STORAGE_CLASS,
    ArchiveTier,
    TieringConfiguration,
    TieringConfigurations,
    cold_after,
)
from tests.engine.deciding import deciding_engine

AFTER_90 = TieringConfiguration(True, (ArchiveTier("ARCHIVE_ACCESS", 90), ArchiveTier("DEEP_ARCHIVE_ACCESS", 180)))


async def test_the_class_is_the_services_to_decide_about_and_shows_wherever_the_bytes_are(tmp_path):
    async with deciding_engine(tmp_path) as store:
        tiers = store.engine.tiers
        assert tiers.stands_for(STORAGE_CLASS) == "hot"
        await store.put("a", storage_class=STORAGE_CLASS)
        for _ in range(2):
            inode = (await store.engine.objects.head("bucket", b"a")).inode
            assert tiers.shown_class(inode) == STORAGE_CLASS
            await store.days(60)
        assert await store.tier("a") == "cold"


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_where_the_service_does_not_decide_the_class_is_refused(tmp_path, mode):
    async with deciding_engine(tmp_path, mode=mode) as store:
        assert store.engine.tiers.stands_for(STORAGE_CLASS) is None


async def test_a_configuration_keeps_its_objects_out_of_cold_until_its_days_are_over(tmp_path):
    async with deciding_engine(tmp_path) as store:
        stored = TieringConfigurations({"archive": AFTER_90})
        await store.engine.configurations.put("bucket", KIND, stored)
        await store.put("waits", storage_class=STORAGE_CLASS)
        await store.put("goes")
        await store.days(80)
        assert [await store.tier(key) for key in ("waits", "goes")] == ["warm", "cold"]
        assert "cold after 90 days without a read" in (await store.explain("waits"))["sentence"]
        await store.days(48)  # it is looked at every 32 days at least
        assert await store.tier("waits") == "cold"


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from([None, "a/", "b"]), st.sampled_from([{}, {"t": "1"}]), st.integers(1, 999)
        )
    ),
    st.sampled_from([b"a/x", b"b", b"c"]),
    st.sampled_from([{}, {"t": "1", "u": "2"}, {"t": "2"}]),
)
def test_the_fewest_days_of_what_matches_count(rows, key, tags):
    made = {
        str(at): TieringConfiguration(enabled, (ArchiveTier("ARCHIVE_ACCESS", days),), prefix, wanted)
        for at, (enabled, prefix, wanted, days) in enumerate(rows)
    }
    expected = [
        days
        for enabled, prefix, wanted, days in rows
        if enabled
        and key.decode().startswith(prefix or "")
        and all(tags.get(name) == text for name, text in wanted.items())
    ]
    assert cold_after(TieringConfigurations(made), key, tags) == min(expected, default=0)
