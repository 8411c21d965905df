"""What the kernel is told to forget, and that the thread which says so ends.

Room: tests. May import: stratum.core, stratumfs.
"""

from threading import Event

from stratum.core.namespace import Change
from stratumfs.caches import KernelCaches

GONE = {40}


def told(*changes):
    steps = []
    caches = KernelCaches(lambda *name: steps.append(name), steps.append, GONE.__contains__)
    caches.start()
    caches.forget(changes)
    assert caches.stop(5)
    return steps


def test_a_change_invalidates_the_directory_first_then_the_inode_then_every_name_it_may_be_shown_under():
    steps = told(Change(7, b"a", 9, removed=False))
    assert steps[:2] == [7, 9]
    assert set(steps[2:]) == {(7, b"a", 0), (7, b"%file%a", 0)}


def test_of_an_inode_without_a_name_it_is_told_which_one_is_gone():
    assert (7, b"a", 40) in told(Change(7, b"a", 40, removed=True))


def test_what_the_kernel_does_not_know_or_refuses_does_not_end_the_thread(caplog):
    seen = []

    def forget(number):
        seen.append(number)
        raise FileNotFoundError if number == 1 else OSError(107, "not connected")

    caches = KernelCaches(lambda *name: None, forget, GONE.__contains__)
    caches.start()
    caches.forget([Change(1, b"a", 2, removed=True), Change(3, b"b", 4, removed=True)])
    assert caches.stop(5)
    assert seen == [1, 2, 3, 4]
    assert len(caplog.records) == 3


def test_a_kernel_that_holds_back_an_invalidation_does_not_hold_back_the_end():
    free = Event()
    caches = KernelCaches(lambda *name: None, lambda number: free.wait() and None, GONE.__contains__)
    caches.start()
    caches.forget([Change(1, b"a", 2, removed=True)])
    assert not caches.stop(0.01)
    free.set()
    assert caches.stop(5)
