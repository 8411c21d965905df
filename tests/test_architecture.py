"""The house rules: which room may import which, how long things may be, what core may not know.

`docs/architecture.md` gives the picture; this file is what holds it.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("stratum", "stratumfs") for path in (ROOT / room).rglob("*.py"))
MODULES = [path for path in FILES if path.read_text().strip()]  # without empty package markers

# An arrow is an import. A room may import itself and what stands here; siblings never each other.
ARROWS = {
    "stratum.core": set(),
    "stratum.store": {"stratum.core"},
    "stratum.engine": {"stratum.core", "stratum.store"},
    "stratum.s3": {"stratum.core", "stratum.engine"},
    "stratum.rpc": {"stratum.core", "stratum.engine"},
    "stratum.console": {"stratum.core", "stratum.engine"},
    "stratumfs": {"stratum.core", "stratum.engine"},
    "stratum.serve": {
        "stratum.core", "stratum.store", "stratum.engine", "stratum.s3", "stratum.rpc", "stratum.console", "stratumfs",
    },
}  # fmt: skip

# What would let core see a clock, a disk, randomness, the network or the event loop.
NOT_IN_CORE = {
    "asyncio", "datetime", "lmdb", "logging", "os", "pathlib", "random", "secrets", "shutil", "socket",
    "subprocess", "tempfile", "threading", "time", "trio",
}  # fmt: skip
PURE_PATHS = {"PurePath", "PurePosixPath"}  # names of things on disk, without the disk

EMPTY_WORDS = re.compile(r"(^|_)(utils?|helpers?|common|managers?|info|data|misc)($|_)")
FILE_LINES, FILE_LINES_MEDIAN, FUNCTION_LINES, FUNCTION_LINES_MEDIAN = 500, 180, 60, 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def room_of(dotted: str) -> str:
    return next((room for room in ARROWS if f"{dotted}.".startswith(f"{room}.")), dotted.partition(".")[0])


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything the file imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            yield from ((node.module or "", alias.name) for alias in node.names)


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def dotted_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def lines(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


every_module = pytest.mark.parametrize("path", MODULES, ids=dotted_name)


@every_module
def test_every_arrow_points_down(path):
    home = room_of(dotted_name(path))
    ours = {room_of(module) for module, _ in imports(path) if module.split(".")[0] in ("stratum", "stratumfs")}
    assert ours - {home} <= ARROWS[home]


@every_module
def test_a_module_says_which_room_it_is_in(path):
    room = room_of(dotted_name(path)).replace(".", "/")
    assert re.search(rf"^Room: +{room}\b", ast.get_docstring(tree(path)) or "", re.M), "no `Room:` line"


@every_module
def test_every_function_says_what_it_returns(path):
    assert [node.name for node in functions(path) if node.returns is None] == []


@every_module
def test_files_and_functions_stay_short(path):
    assert len(path.read_text().splitlines()) <= FILE_LINES
    assert {node.name: lines(node) for node in functions(path) if lines(node) > FUNCTION_LINES} == {}


def test_most_files_and_functions_are_much_shorter():
    assert median(len(path.read_text().splitlines()) for path in MODULES) <= FILE_LINES_MEDIAN
    assert median(lines(node) for path in MODULES for node in functions(path)) <= FUNCTION_LINES_MEDIAN


@every_module
def test_names_say_what_a_module_is_about(path):
    assert not EMPTY_WORDS.search(path.stem)


@pytest.mark.parametrize("path", sorted((ROOT / "stratum/core").glob("*.py")), ids=dotted_name)
def test_core_is_blind(path):
    seen = {(module.split(".")[0], name) for module, name in imports(path)}
    assert [f"{module}.{name}" for module, name in seen if module in NOT_IN_CORE and name not in PURE_PATHS] == []
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [node.lineno for node in ast.walk(tree(path)) if isinstance(node, waits)]


@every_module
def test_no_error_is_swallowed_unseen(path):
    broad = {"Exception", "BaseException"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            wide = node.type is None or (isinstance(node.type, ast.Name) and node.type.id in broad)
            idle = all(isinstance(step, ast.Pass | ast.Continue) for step in node.body)
            assert not (wide and idle), f"line {node.lineno}"


@every_module
def test_signatures_are_compared_in_constant_time(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            words = {getattr(side, "id", getattr(side, "attr", "")) for side in (node.left, *node.comparators)}
            assert not [word for word in words if re.search("signature|secret|hmac", word)], f"line {node.lineno}"


def test_disk_calls_that_decide_durability_are_in_one_module():
    deciding = {
        "fsync",
        "fdatasync",
        "rename",
        "replace",
        "unlink",
        "pwrite",
        "pwritev",
        "writev",
        "truncate",
    }
    for path in MODULES:
        if room_of(dotted_name(path)) == "stratum.serve" or dotted_name(path) == "stratum.store.disk":
            continue  # serve keeps its own lock and credentials, before there is a store
        to_kernel = {"writev"} if dotted_name(path) == "stratumfs.raw" else set()  # answers, not to a disk
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in deciding - to_kernel, f"{dotted_name(path)}: os.{node.attr}, line {node.lineno}"
