"""The sources, which are only read, show how the parts of the package depend on each other."""

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "bn"
C_SOURCES = ROOT / "bncore"

pytestmark = pytest.mark.skipif(not PACKAGE.exists(), reason="the sources are not here")

# From the lowest to the highest: an import goes to the same level or to a lower one. The names are
# those of modules and folders directly below bn; `bn` itself collects them all and has no level.
LEVELS = [
    ["_core"],
    ["types"],
    ["_check"],
    [
        "arrays",
        "config",
        "dask",
        "double_backward",
        "functional",
        "fused",
        "groups",
        "images",
        "inputs",
        "markup",
        "masking",
        "memory",
        "mode",
        "module",
        "mpi",
        "overlap",
        "parameter",
        "prediction",
        "recording",
        "rows",
        "sample_double_backward",
        "statistics",
        "summary",
        "table",
    ],
    ["layers"],
    ["distributed"],
    ["nn"],
    ["files", "onnx", "streams", "tools", "torch"],
    ["convert", "keras"],
    ["explaining"],
    ["cli", "study"],
    ["__main__"],
]
SHARED = {"bn._check", "bn._core"}  # the whole distribution shares them
CHECKING = ("TYPE_CHECKING", "typing.TYPE_CHECKING")
# These attributes of named tuples are public in Python.
NAMEDTUPLE = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}


# ---- reading ----


def modules():
    """Return the path of each module by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("bn", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def only_for_types(node):
    """Tell whether it is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in CHECKING


def running(node) -> Iterator[ast.AST]:
    """Yield the nodes below this one but for those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if only_for_types(child):
            for other in child.orelse:
                yield other
                yield from running(other)
        else:
            yield child
            yield from running(child)


def base_of(module, node):
    """Return the dotted name behind `from`, absolute."""
    if not node.level:
        return node.module
    above = module.split(".")
    if MODULES[module].name != "__init__.py":
        above.pop()
    above = above[: len(above) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def imported_names(module):
    """Yield (dotted name, line) of everything that a module imports from bn when it runs."""
    for node in running(TREES[module]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{base_of(module, node)}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "bn":
                yield name, node.lineno


def module_of(name):
    """Return the module that a dotted name is, or stands in."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def imports(module):
    """Return the modules that a module imports, without the packages around them."""
    return sorted({module_of(name) for name, _ in imported_names(module)})


# ---- imports ----


def cycles(graph):
    """Return the groups of nodes each of which leads to all others of its group."""
    reached = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            for following in graph[todo.pop()]:
                if following not in seen:
                    seen.add(following)
                    todo.append(following)
        reached[start] = seen
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in graph if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def test_cycles_are_found_wherever_they_are():
    assert cycles({"a": ["b"], "b": ["c"], "c": []}) == []
    assert cycles({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["d"]}) == [["b", "c"], ["d"]]


def test_no_module_imports_itself_through_others():
    assert cycles({name: imports(name) for name in MODULES}) == []


def level(module):
    """Return the number of a module's level; `bn` itself has none, nor has an unknown module."""
    name = module.partition(".")[2].partition(".")[0]
    return next((number for number, names in enumerate(LEVELS) if name in names), None)


def test_the_levels_name_the_modules_and_folders_that_there_are():
    present = {name.split(".")[1] for name in MODULES if name != "bn"}
    assert present == set(itertools.chain.from_iterable(LEVELS))


def test_imports_go_to_the_same_level_or_a_lower_one():
    found = [(name, other) for name in MODULES for other in imports(name)]
    known = [each for each in found if None not in (level(each[0]), level(each[1]))]
    assert [each for each in known if level(each[0]) < level(each[1])] == []


def test_only_the_command_and_the_studies_import_the_whole_package():
    command = level("bn.cli")
    importing = [name for name in MODULES if name != "bn" and "bn" in imports(name)]
    assert [name for name in importing if level(name) is None or level(name) < command] == []


# ---- underscores ----


def private(name):
    return re.fullmatch(r"_[^_].*", name) is not None


def folder(module):
    return MODULES[module].parent


def defined(tree):
    """Yield the names that a module defines: functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and own(node):
            yield node.attr


@functools.cache
def defined_in(path):
    """Return the names that the modules of a folder define."""
    return {name for module in TREES if folder(module) == path for name in defined(TREES[module])}


def own(attribute):
    """Tell whether it is an attribute of self, cls or super()."""
    return ast.unparse(attribute.value) in ("self", "cls", "super()")


def foreign_imports(module):
    """Yield imports of private names, or of private modules, of another folder."""
    for name, line in imported_names(module):
        parts = name.split(".")
        for end in range(2, len(parts) + 1):
            if private(parts[end - 1]) and ".".join(parts[:end]) not in SHARED:
                home = module_of(".".join(parts[: end - 1]))
                if folder(home) != folder(module):
                    yield f"{module}, line {line}: {name}"


def foreign_attributes(module):
    """Yield private attributes of others that no module of the same folder defines."""
    known = NAMEDTUPLE | {name.rpartition(".")[2] for name in SHARED} | defined_in(folder(module))
    libraries = set(foreign_modules(TREES[module]))
    for node in ast.walk(TREES[module]):
        if not isinstance(node, ast.Attribute) or not private(node.attr) or own(node):
            continue
        if node.attr not in known and ast.unparse(node.value) not in libraries:
            yield f"{module}, line {node.lineno}: {ast.unparse(node)}"


def foreign_modules(tree):
    """Yield what modules of other distributions are called in this one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] != "bn":
                    yield alias.asname or alias.name


def test_no_module_uses_private_names_of_another_folder():
    found = [each for name in MODULES for each in foreign_imports(name)]
    found += [each for name in MODULES for each in foreign_attributes(name)]
    assert found == []


# ---- C ----


POOL = "thread_pool"  # the C file with the pool of threads


def c_files():
    """Return all C files and headers, in whatever folder below they are."""
    files = [path for path in sorted(C_SOURCES.rglob("*")) if path.suffix in (".c", ".h")]
    assert files
    return files


def including(header):
    """Return the C files and headers that include a header of the system."""
    include = re.compile(rf"^\s*#\s*include\s*[<\"]{re.escape(header)}[>\"]", re.MULTILINE)
    return [path for path in c_files() if include.search(path.read_text("utf-8"))]


def test_one_c_file_knows_openmp():
    assert len(including("omp.h")) == 1


def test_one_c_file_starts_threads():
    starting = [path for path in c_files() if "pthread_create" in path.read_text("utf-8")]
    assert [path.stem == POOL for path in starting] == [True]


def test_pthreads_are_known_where_threads_start_and_where_memory_is_shared():
    assert [path.stem for path in including("pthread.h")] == [POOL, "memory"]


def test_no_c_file_knows_python():
    assert including("Python.h") == []
