"""Holds the house rules: who may import whom, and what lives in one module only.

A rule is a function over a module's name and source that yields the sentences of its breaches;
each sentence says why. Every module is listed in a layer, so a new file starts with the question
"what are you?".
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT_FOLDER = Path(__file__).resolve().parent.parent

CORE = frozenset(
    {
        "lanjami.errors",
        "lanjami.config",
        "lanjami.backoff",
        "lanjami.lan",
        "lanjami.settings",
        "lanjami.tone",
        "lanjami.backup.manifest",
        "lanjami.box.arp",
        "lanjami.box.card",
        "lanjami.box.health",
        "lanjami.box.networkd",
        "lanjami.box.places",
        "lanjami.box.roles",
        "lanjami.box.screen",
        "lanjami.box.slots",
        "lanjami.box.standing",
        "lanjami.discovery.wire",
        "lanjami.doctor.config_checks",
        "lanjami.doctor.finding",
        "lanjami.doctor.lan_checks",
        "lanjami.doctor.machine_checks",
        "lanjami.doctor.redaction",
        "lanjami.doctor.service_checks",
        "lanjami.layout",
        "lanjami.limits",
        "lanjami.discovery.neighbours",
        "lanjami.discovery.responder",
        "lanjami.discovery.records",
        "lanjami.dhtnode.admission",
        "lanjami.dhtnode.answers",
        "lanjami.dhtnode.core",
        "lanjami.dhtnode.endpoint",
        "lanjami.dhtnode.events",
        "lanjami.dhtnode.fragments",
        "lanjami.dhtnode.hearing",
        "lanjami.dhtnode.heartbeat",
        "lanjami.dhtnode.info",
        "lanjami.dhtnode.inbox",
        "lanjami.dhtnode.listeners",
        "lanjami.dhtnode.messages",
        "lanjami.dhtnode.nodes",
        "lanjami.dhtnode.operations",
        "lanjami.dhtnode.packing",
        "lanjami.dhtnode.policy",
        "lanjami.dhtnode.proxy",
        "lanjami.dhtnode.proxy_deaf",
        "lanjami.dhtnode.proxy_state",
        "lanjami.dhtnode.query",
        "lanjami.dhtnode.requests",
        "lanjami.dhtnode.routing",
        "lanjami.dhtnode.runner_log",
        "lanjami.dhtnode.search",
        "lanjami.dhtnode.state",
        "lanjami.dhtnode.storage",
        "lanjami.dhtnode.tokens",
        "lanjami.dhtnode.updates",
        "lanjami.dhtnode.upkeep",
        "lanjami.dhtnode.value",
        "lanjami.dhtnode.value_json",
        "lanjami.dhtnode.webpush",
        "lanjami.dhtnode.wire",
        "lanjami.nameserver.index",
        "lanjami.nameserver.names",
        "lanjami.nameserver.record",
        "lanjami.nameserver.signature",
        "lanjami.network.chrony_conf",
        "lanjami.network.clock",
        "lanjami.network.connectivity",
        "lanjami.network.dhcp_wire",
        "lanjami.network.dns_wire",
        "lanjami.network.dnsmasq_conf",
        "lanjami.network.guard",
        "lanjami.network.hostapd_conf",
        "lanjami.network.ntp_wire",
        "lanjami.network.outlook",
        "lanjami.network.plan",
        "lanjami.network.wifi",
        "lanjami.firewall.openings",
        "lanjami.firewall.rules",
        "lanjami.firewall.ruleset",
        "lanjami.firewall.verdict",
        "lanjami.status.snapshot",
        "lanjami.turn.conf",
        "lanjami.turn.journal",
        "lanjami.turn.stun",
        "lanjami.status.history",
        "lanjami.status.metrics",
        "lanjami.status.page",
        "lanjami.status.plot",
        "lanjami.status.quality",
        "lanjami.status.render",
        "lanjami.status.texts",
        "lanjami.status.operator.box",
        "lanjami.status.operator.pages",
        "lanjami.status.operator.rules",
        "lanjami.status.operator.sessions",
        "lanjami.status.operator.settings",
        "lanjami.status.turns",
    }
)
RUNTIME = frozenset(
    {
        "lanjami.runtime.batches",
        "lanjami.runtime.checkpoint",
        "lanjami.runtime.connections",
        "lanjami.runtime.disk",
        "lanjami.runtime.fastlane",
        "lanjami.runtime.handler",
        "lanjami.runtime.httpd",
        "lanjami.runtime.log",
        "lanjami.runtime.net",
        "lanjami.runtime.notify",
        "lanjami.runtime.patience",
        "lanjami.runtime.plain",
        "lanjami.runtime.privileges",
        "lanjami.runtime.process",
        "lanjami.runtime.service",
        "lanjami.runtime.supervisor",
        "lanjami.runtime.tether",
    }
)
SHELL = frozenset(
    {
        "lanjami.backup.api",
        "lanjami.backup.archive",
        "lanjami.backup.keeper",
        "lanjami.box.disks",
        "lanjami.box.notices",
        "lanjami.box.rivals",
        "lanjami.box.setup",
        "lanjami.box.spare",
        "lanjami.box.updating",
        "lanjami.box.upload",
        "lanjami.box.watch",
        "lanjami.discovery.announcer",
        "lanjami.discovery.mdns",
        "lanjami.doctor.asking",
        "lanjami.doctor.from_client",
        "lanjami.doctor.hearing",
        "lanjami.doctor.machine",
        "lanjami.doctor.page_api",
        "lanjami.doctor.watch",
        "lanjami.dhtnode.beat",
        "lanjami.dhtnode.identity",
        "lanjami.dhtnode.node",
        "lanjami.dhtnode.opendht",
        "lanjami.dhtnode.proxy_api",
        "lanjami.dhtnode.proxy_service",
        "lanjami.dhtnode.push",
        "lanjami.dhtnode.python_node",
        "lanjami.dhtnode.streams",
        "lanjami.dhtnode.udp",
        "lanjami.nameserver.admin",
        "lanjami.nameserver.admin_api",
        "lanjami.nameserver.database",
        "lanjami.nameserver.desk",
        "lanjami.nameserver.opening",
        "lanjami.nameserver.registry",
        "lanjami.nameserver.api",
        "lanjami.network.access_point",
        "lanjami.network.addresses",
        "lanjami.network.connectivity_api",
        "lanjami.network.lan_server",
        "lanjami.network.outlook_watch",
        "lanjami.network.probes",
        "lanjami.network.time_server",
        "lanjami.firewall.nftables",
        "lanjami.status.api",
        "lanjami.turn.catch",
        "lanjami.turn.coturn",
        "lanjami.turn.users",
        "lanjami.status.live",
        "lanjami.status.metrics_api",
        "lanjami.status.page_api",
        "lanjami.status.quality_api",
        "lanjami.status.operator.desk_api",
        "lanjami.status.operator.gate_api",
        "lanjami.status.operator.local_api",
        "lanjami.status.operator.passwords",
        "lanjami.status.operator.update_api",
    }
)
ROOT = frozenset(
    {
        "lanjami.app",
        "lanjami.overview",
        "lanjami.ending",
        "lanjami.operating",
        "lanjami.cli.admin",
        "lanjami.cli.main",
        "lanjami.cli.manual",
        "lanjami.cli.up",
        "lanjami.cli.status",
        "lanjami.cli.places",
        "lanjami.cli.progress",
        "lanjami.cli.failure",
        "lanjami.cli.control",
        "lanjami.cli.colour",
        "lanjami.cli.completion",
        "lanjami.cli.config",
        "lanjami.cli.doctor",
        "lanjami.cli.examining",
        "lanjami.cli.report",
        "lanjami.cli.names",
        "lanjami.cli.measuring",
        "lanjami.cli.quality",
        "lanjami.cli.backup",
        "lanjami.cli.box",
        "lanjami.cli.firewall",
        "lanjami.cli.turn",
        "lanjami.cli.update",
        "lanjami.__main__",
    }
)
LAYERS = {"core": CORE, "runtime": RUNTIME, "shell": SHELL, "root": ROOT}

# What a decision must not need; a core module that imports one of these cannot be tested
# without a world around it.
WORLD = frozenset(
    {
        "aiohttp",
        "asyncio",
        "click",
        "concurrent",
        "fcntl",
        "http",
        "importlib",
        "logging",
        "multiprocessing",
        "netifaces",
        "opendht",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "systemd",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
        "zeroconf",
    }
)
WORLDLY_CALLS = frozenset({"open", "print", "input"})

HOMES = {
    "opendht": "lanjami.dhtnode.opendht",
    "zeroconf": "lanjami.discovery.mdns",
    "netifaces": "lanjami.runtime.net",
    "systemd": "lanjami.runtime.notify",
}
HTTP_CLIENT = "lanjami.dhtnode.push"  # the one module that writes to other machines' HTTP servers
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA)\s+[\w*\"]")
# The names, and the users of coturn, which reads them from SQLite itself.
SQL_HOMES = frozenset({"lanjami.nameserver.database", "lanjami.turn.users"})
HTTP_HOMES = frozenset({"lanjami.runtime.httpd", "lanjami.runtime.handler"})

# The words of this program's own field, at the start of a word or of a part of a name.
FIELD = re.compile(r"(?<![a-z])(jami|opendht|dht|nameserver|name server|username)", re.IGNORECASE)

TASK_MAKERS = frozenset({"create_task", "ensure_future", "gather"})


@dataclass(frozen=True)
class Module:
    """A module's dotted name and text."""

    name: str
    source: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.name)

    @property
    def package(self) -> str:
        """The service it belongs to, such as "lanjami.discovery"; "lanjami" for the shared."""
        return ".".join(self.name.split(".")[: 2 if self.name.count(".") > 1 else 1])

    @cached_property
    def imports(self) -> frozenset[str]:
        """The dotted names of what is imported: of a module, or of something in it."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    found |= {alias.name for alias in names}
                case ast.ImportFrom(module=module, names=names, level=level):
                    origin = self._resolve(module, level)
                    found |= {f"{origin}.{alias.name}" for alias in names}
        return frozenset(found)

    @property
    def top_imports(self) -> frozenset[str]:
        return frozenset(name.partition(".")[0] for name in self.imports)

    def _resolve(self, module: str | None, level: int) -> str:
        if level == 0:
            return module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - level + (1 if self.is_package else 0)]
        return ".".join([*parts, module] if module else parts)


Rule = Callable[[Module], Iterator[str]]


def layer_of(name: str) -> str | None:
    return next((layer for layer, members in LAYERS.items() if name in members), None)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imported_modules(module: Module) -> frozenset[str]:
    """The modules of lanjami that are imported; what is not in the table is left out."""
    everybody = CORE | RUNTIME | SHELL | ROOT
    return frozenset(other for other in everybody for name in module.imports if within(name, other))


# --- the rules ----------------------------------------------------------------------------------


def every_module_is_in_a_layer(module: Module) -> Iterator[str]:
    if not module.is_package and layer_of(module.name) is None:
        yield (
            f"{module.name}: what are you? Core decides, runtime acts and knows nothing of Jami, "
            "shell is one service or adapter, root wires: list it in one of the four layers"
        )


def packages_are_empty(module: Module) -> Iterator[str]:
    if not module.is_package:
        return
    match module.tree.body:
        case []:
            return
        case [ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant())] if (
            module.name == "lanjami"
        ):
            return
    yield (
        f"{module.name}: an __init__.py is empty (lanjami's own has the version only), so that "
        "importing one module runs no other"
    )


def core_needs_no_world(module: Module) -> Iterator[str]:
    if layer_of(module.name) != "core":
        return
    for name in sorted(module.top_imports & WORLD):
        yield (
            f"{module.name} imports {name}: the core takes time, randomness and the world as "
            "arguments, so that its decisions are tested without them"
        )
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in WORLDLY_CALLS:
                yield f"{module.name} calls {name}(): the core decides, the shell acts"


def core_imports_core_only(module: Module) -> Iterator[str]:
    if layer_of(module.name) != "core":
        return
    for other in sorted(imported_modules(module) - CORE):
        yield f"{module.name} imports {other}: imports point down, and nothing is below the core"


def runtime_imports_downwards(module: Module) -> Iterator[str]:
    if layer_of(module.name) != "runtime":
        return
    for other in sorted(imported_modules(module) - CORE - RUNTIME):
        yield f"{module.name} imports {other}: the runtime stands on the core alone"


def runtime_knows_nothing_of_jami(module: Module) -> Iterator[str]:
    if layer_of(module.name) != "runtime":
        return
    reason = "the runtime would be reusable as it stands"
    services = ("discovery", "dhtnode", "nameserver", "status")
    for name in sorted(module.imports):
        if within(name, *(f"lanjami.{service}" for service in services)):
            yield f"{module.name} imports {name}: {reason}"
    for number, line in enumerate(module.source.splitlines(), start=1):
        if found := FIELD.search(line):
            yield f"{module.name}:{number} speaks of {found[0]!r}: {reason}"


def shells_do_not_meet(module: Module) -> Iterator[str]:
    if layer_of(module.name) != "shell":
        return
    for other in sorted(imported_modules(module) & SHELL):
        if Module(other, "").package != module.package:
            yield (
                f"{module.name} imports {other}: services meet in app.py only, which hands over "
                "functions, never services"
            )


def nothing_imports_the_root(module: Module) -> Iterator[str]:
    if layer_of(module.name) == "root":
        return
    for name in sorted(module.imports):
        if within(name, "lanjami.app", "lanjami.overview", "lanjami.cli", "lanjami.__main__"):
            yield f"{module.name} imports {name}: what wires everything is at the top"


def foreign_libraries_have_one_home(module: Module) -> Iterator[str]:
    for library, home in HOMES.items():
        if library in module.top_imports and module.name != home:
            yield (
                f"{module.name} imports {library}: it lives in {home} only and leaves it as our "
                "types"
            )


def sql_has_its_homes(module: Module) -> Iterator[str]:
    if module.name in SQL_HOMES:
        return
    homes = " and ".join(sorted(SQL_HOMES))
    if "sqlite3" in module.top_imports:
        yield f"{module.name} imports sqlite3: it lives in {homes} only, and leaves as our types"
    for node in ast.walk(module.tree):
        match node:
            case ast.Constant(value=str(text)) if SQL.search(text):
                yield (
                    f"{module.name}:{node.lineno} has SQL: it lives in {homes} only, one "
                    "transaction a method"
                )


def http_has_its_places(module: Module) -> Iterator[str]:
    last = module.name.rpartition(".")[2]
    serves = module.name in HTTP_HOMES or last == "api" or last.endswith("_api")
    if "aiohttp" in module.top_imports and not serves and module.name != HTTP_CLIENT:
        yield (
            f"{module.name} imports aiohttp: only runtime/httpd.py, its handler.py and the "
            f"api.py files speak HTTP, so that nothing else sees requests, and {HTTP_CLIENT}, "
            "so that nothing else makes them"
        )
    if module.name == HTTP_CLIENT and "aiohttp.web" in module.imports:
        yield f"{module.name} imports aiohttp.web: it asks, and serves nobody"


def program_and_image_are_apart(module: Module) -> Iterator[str]:
    mine, foreign = module.name.partition(".")[0], module.top_imports
    if mine == "lanjami" and foreign & {"image", "tests"}:
        yield f"{module.name} imports {sorted(foreign & {'image', 'tests'})}: they are not shipped"
    if mine == "image" and "lanjami" in foreign:
        yield f"{module.name} imports lanjami: the image installs the wheel, as any user does"


def tasks_have_an_owner(module: Module) -> Iterator[str]:
    for line, what in _ownerless(module.tree, frozenset()):
        yield (
            f"{module.name}:{line} uses {what}: a task that no TaskGroup owns loses its errors "
            "and outlives its service"
        )


RULES: tuple[Rule, ...] = (
    every_module_is_in_a_layer,
    packages_are_empty,
    core_needs_no_world,
    core_imports_core_only,
    runtime_imports_downwards,
    runtime_knows_nothing_of_jami,
    shells_do_not_meet,
    nothing_imports_the_root,
    foreign_libraries_have_one_home,
    sql_has_its_homes,
    http_has_its_places,
    program_and_image_are_apart,
    tasks_have_an_owner,
)


def _ownerless(node: ast.AST, groups: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Where a task is made by something other than one of the task `groups` known by name."""
    match node:
        case ast.AsyncWith(items=items):
            groups |= {
                item.optional_vars.id
                for item in items
                if isinstance(item.optional_vars, ast.Name) and _is_group(item.context_expr)
            }
        case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args):
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
            groups -= {argument.arg for argument in every}
            groups |= {
                argument.arg
                for argument in every
                if argument.annotation is not None
                and ast.unparse(argument.annotation).rpartition(".")[2] == "TaskGroup"
            }
        case ast.Attribute(value=ast.Name(id=owner), attr="create_task") if owner in groups:
            return
        case ast.Attribute(attr=name, lineno=line) if name in TASK_MAKERS:
            yield line, name
        case ast.ImportFrom(module="asyncio", names=names, lineno=line):
            yield from ((line, alias.name) for alias in names if alias.name in TASK_MAKERS)
    for child in ast.iter_child_nodes(node):
        yield from _ownerless(child, groups)


def _is_group(expression: ast.expr) -> bool:
    return (
        isinstance(expression, ast.Call)
        and ast.unparse(expression.func).rpartition(".")[2] == "TaskGroup"
    )


# --- held over the sources ----------------------------------------------------------------------


def _modules(folder: str) -> list[Module]:
    found = []
    for file in sorted((ROOT_FOLDER / folder).rglob("*.py")):
        parts = list(file.relative_to(ROOT_FOLDER).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(Module(name, file.read_text("utf-8"), is_package))
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_program_keeps_the_rule(rule: Rule) -> None:
    breaches = [breach for module in _modules("lanjami") for breach in rule(module)]
    assert not breaches, "\n".join(breaches)


def test_the_image_is_built_without_the_program() -> None:
    breaches = [b for module in _modules("image") for b in program_and_image_are_apart(module)]
    assert not breaches, "\n".join(breaches)


def test_the_table_lists_what_there_is_and_each_once() -> None:
    listed = [name for members in LAYERS.values() for name in members]
    assert len(listed) == len(set(listed)), "a module is in one layer"
    there = {module.name for module in _modules("lanjami")}
    assert not set(listed) - there, "the table lists modules that are gone"


# --- each rule can fail -------------------------------------------------------------------------


def _breaches(module: Module) -> set[str]:
    return {rule.__name__ for rule in RULES if list(rule(module))}


@pytest.mark.parametrize(
    ("name", "source", "broken"),
    [
        ("lanjami.new", "", "every_module_is_in_a_layer"),
        ("lanjami.discovery.new", "", "every_module_is_in_a_layer"),
        ("lanjami.runtime.new", "", "every_module_is_in_a_layer"),
        ("lanjami.lan", "import time", "core_needs_no_world"),
        ("lanjami.lan", "from os import environ", "core_needs_no_world"),
        ("lanjami.lan", "import asyncio.streams", "core_needs_no_world"),
        ("lanjami.lan", "def now():\n    import random", "core_needs_no_world"),
        ("lanjami.lan", "open('/etc/hosts')", "core_needs_no_world"),
        ("lanjami.lan", "from lanjami.runtime import log", "core_imports_core_only"),
        ("lanjami.lan", "import lanjami.runtime.log as log", "core_imports_core_only"),
        ("lanjami.lan", "from lanjami.runtime.log import get", "core_imports_core_only"),
        ("lanjami.lan", "from .runtime.log import get", "core_imports_core_only"),
        ("lanjami.discovery.wire", "from .announcer import Announcer", "core_imports_core_only"),
        ("lanjami.discovery.wire", "from ..runtime import log", "core_imports_core_only"),
        (
            "lanjami.discovery.wire",
            "from lanjami.discovery import announcer",
            "core_imports_core_only",
        ),
        (
            "lanjami.runtime.net",
            "from lanjami.discovery import wire",
            "runtime_knows_nothing_of_jami",
        ),
        ("lanjami.runtime.net", '"""Sends to the DHT."""', "runtime_knows_nothing_of_jami"),
        ("lanjami.runtime.net", "class JamiSocket: ...", "runtime_knows_nothing_of_jami"),
        ("lanjami.runtime.net", "a_dht_port = 4222", "runtime_knows_nothing_of_jami"),
        ("lanjami.runtime.net", "x = 1  # for OpenDHT", "runtime_knows_nothing_of_jami"),
        (
            "lanjami.discovery.announcer",
            "from lanjami.dhtnode.node import DhtNode",
            "shells_do_not_meet",
        ),
        ("lanjami.status.api", "import lanjami.nameserver.api", "shells_do_not_meet"),
        ("lanjami.status.api", "from lanjami import app", "nothing_imports_the_root"),
        ("lanjami.lan", "from lanjami.cli.places import state_folder", "nothing_imports_the_root"),
        ("lanjami.runtime.net", "import lanjami.cli", "nothing_imports_the_root"),
        ("lanjami.dhtnode.node", "import opendht", "foreign_libraries_have_one_home"),
        ("lanjami.app", "from zeroconf.asyncio import X", "foreign_libraries_have_one_home"),
        ("lanjami.discovery.mdns", "import netifaces", "foreign_libraries_have_one_home"),
        ("lanjami.runtime.log", "import systemd.journal", "foreign_libraries_have_one_home"),
        ("lanjami.nameserver.api", "import sqlite3", "sql_has_its_homes"),
        ("lanjami.nameserver.api", "x = 'SELECT * FROM names'", "sql_has_its_homes"),
        ("lanjami.nameserver.api", "x = f'PRAGMA user_version = {v}'", "sql_has_its_homes"),
        ("lanjami.app", "x = 'INSERT INTO names VALUES (1)'", "sql_has_its_homes"),
        ("lanjami.app", "x = 'UPDATE names SET id = 1'", "sql_has_its_homes"),
        ("lanjami.app", "x = 'DELETE FROM names'", "sql_has_its_homes"),
        ("lanjami.app", "from aiohttp import web", "http_has_its_places"),
        ("lanjami.runtime.net", "import aiohttp", "http_has_its_places"),
        ("lanjami.dhtnode.proxy_service", "import aiohttp", "http_has_its_places"),
        ("lanjami.dhtnode.push", "from aiohttp import web", "http_has_its_places"),
        ("lanjami.app", "from image import plan", "program_and_image_are_apart"),
        ("lanjami.app", "import tests.support.lab", "program_and_image_are_apart"),
        ("image.build", "from lanjami.config import Config", "program_and_image_are_apart"),
        ("lanjami.app", "asyncio.create_task(x())", "tasks_have_an_owner"),
        ("lanjami.app", "asyncio.get_running_loop().create_task(x())", "tasks_have_an_owner"),
        ("lanjami.app", "from asyncio import gather", "tasks_have_an_owner"),
        ("lanjami.app", "make = asyncio.ensure_future", "tasks_have_an_owner"),
        ("lanjami.app", "def f(tasks): tasks.create_task(x())", "tasks_have_an_owner"),
        (
            "lanjami.app",
            "async def f():\n async with asyncio.TaskGroup() as t: ...\n t.create_task(x())",
            "tasks_have_an_owner",
        ),
        (
            "lanjami.app",
            "async def f():\n async with asyncio.TaskGroup() as t: loop.create_task(x())",
            "tasks_have_an_owner",
        ),
    ],
)
def test_a_breach_is_seen(name: str, source: str, broken: str) -> None:
    module = Module(name, source)
    assert broken in _breaches(module)
    for sentence in (sentence for rule in RULES for sentence in rule(module)):
        who, _, why = sentence.partition(": ")
        assert who.startswith(name)
        assert why


@pytest.mark.parametrize("name", ["lanjami.app", "lanjami.status.api", "lanjami.dhtnode.identity"])
def test_the_runtime_sees_no_shell_or_root(name: str) -> None:
    package, _, last = name.rpartition(".")
    module = Module("lanjami.runtime.net", f"from {package} import {last}")
    assert "runtime_imports_downwards" in _breaches(module)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("lanjami", "__version__ = '1'\nimport asyncio"),
        ("lanjami", "from lanjami.app import App"),
        ("lanjami.discovery", '"""Discovery."""'),
        ("lanjami.discovery", "__version__ = '1'"),
    ],
)
def test_a_package_with_content_is_seen(name: str, source: str) -> None:
    assert _breaches(Module(name, source, is_package=True)) >= {"packages_are_empty"}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("lanjami.discovery.responder", "from lanjami.discovery import wire\nimport msgpack"),
        ("lanjami.dhtnode.node", "from lanjami.discovery.wire import Beacon\nimport asyncio"),
        ("lanjami.nameserver.api", "from aiohttp import web\nfrom . import registry"),
        ("lanjami.dhtnode.proxy_api", "from aiohttp import web"),
        ("lanjami.dhtnode.push", "import aiohttp\nfrom aiohttp.abc import AbstractResolver"),
        ("lanjami.runtime.httpd", "from aiohttp import web\nfrom lanjami.errors import HostError"),
        ("lanjami.runtime.log", "x = 'a fault of lanjami itself'  # and of a name"),
        ("lanjami.nameserver.database", "import sqlite3\nx = 'SELECT name FROM names'"),
        ("lanjami.nameserver.api", "METHODS = ('GET', 'DELETE')"),
        ("lanjami.app", "from lanjami.cli import main\nimport lanjami"),
        ("image.build", "import subprocess"),
        (
            "lanjami.app",
            "async def f():\n async with asyncio.TaskGroup() as t: t.create_task(x())",
        ),
        ("lanjami.app", "def f(tasks: asyncio.TaskGroup): tasks.create_task(x())"),
    ],
)
def test_what_is_allowed_passes(name: str, source: str) -> None:
    assert _breaches(Module(name, source)) <= {"every_module_is_in_a_layer"}
