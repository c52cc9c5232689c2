"""The registry, with its real database, does what a dictionary would do, whatever happens to it.

Between two steps of the machine its loop stands still; a crash is a copy of the files as they are
then, with the log of SQLite beside the database, from which a new registry goes on.
"""

import asyncio
import io
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from lanjami.backup import archive
from lanjami.backup.keeper import Keeper
from lanjami.cli.backup import restore
from lanjami.errors import HostError, RequestError
from lanjami.nameserver import admin, record
from lanjami.nameserver.names import JamiId, Name
from lanjami.nameserver.record import Record
from lanjami.nameserver.registry import Registry
from lanjami.nameserver.signature import Registration
from tests.support.registrations import account_id, registration
from tests.support.running import Heard, running

RESERVED = "lanjami*"  # to clients, by the configuration
NAMES = st.sampled_from(["alice", "bobby", "carol", "david", "lanjami-2"])
ACCOUNTS = st.sampled_from(range(5))
WHEN = 1000
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of syncs, none of interest

signed = cache(registration)


@dataclass(frozen=True)
class Kept:
    """Whose a name is, and which name was signed for it."""

    account: int
    signed: str

    def record(self, name: str) -> Record:
        return msgspec.structs.replace(
            record.of(signed(self.signed, self.account), when=WHEN), name=Name(name)
        )


@dataclass(frozen=True)
class Model:
    names: dict[str, Kept] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()

    def name_of(self, account: int) -> str | None:
        return next((name for name, kept in self.names.items() if kept.account == account), None)

    def refusal(self, name: str, account: int) -> int:
        """The status with which a name is not given to an account; 0 where it can be."""
        if name in self.names:
            return 0 if self.names[name].account == account else 403
        return 403 if self.name_of(account) is not None or name in self.reserved else 0

    def given(self, name: str, kept: Kept) -> "Model":
        return replace(self, names={name: kept, **self.names})

    def without(self, name: str) -> "Model":
        return replace(self, names={n: kept for n, kept in self.names.items() if n != name})


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(debug=True)
        self.folder = Path(tempfile.mkdtemp(prefix="lanjami-", dir=MEMORY))
        self.lives = 0
        self.model = Model()
        self.copies: dict[Path, Model] = {}  # of the database alone
        self.backups: dict[Path, Model] = {}
        self.newest_kept: Model | None = None
        self.is_damaged = False

    @initialize()
    def starts(self) -> None:
        self.state = self.folder / f"state-{self.lives}"
        (self.state / "backups").mkdir(parents=True, exist_ok=True)
        self.keeper = Keeper(self.state / "backups", collect=self._collect)
        self.registry = Registry(
            path=self.state / "names.sqlite",
            reserved=[RESERVED],
            spare=partial(self.keeper.unpack_newest, "names.sqlite"),
            clock=lambda: WHEN,
        )
        heard = Heard()
        self.running = self.runner.get_loop().create_task(self.registry.run(heard))
        self.run(heard.ready.wait)
        assert (heard.reasons[0] != "") == self.is_damaged

    def stops(self) -> None:
        self.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            self.runner.get_loop().run_until_complete(self.running)
        with pytest.raises(HostError):
            self.registry.by_name(Name("alice"))

    def teardown(self) -> None:
        self.stops()
        self.runner.close()
        shutil.rmtree(self.folder)

    # --- clients ---------------------------------------------------------------------------------

    @rule(name=NAMES, account=ACCOUNTS, is_forged=st.sampled_from([False] * 4 + [True]))
    def a_client_registers(self, name: str, account: int, is_forged: bool) -> None:  # noqa: FBT001
        wanted = signed(name, account)
        has_it = name in self.model.names and self.model.names[name].account == account
        refusal = self.model.refusal(name, account)
        if name.startswith("lanjami") and not has_it:
            refusal = 403
        elif is_forged:
            refusal = 401
        if is_forged:
            wanted = replace(wanted, signature=signed("another", account).signature)
        self._expect(refusal, partial(self.registry.register, wanted, source="127.0.0.1"))
        if not refusal:
            self.model = self.model.given(name, Kept(account, name))

    @rule(wanted=st.lists(st.tuples(NAMES, ACCOUNTS), min_size=2, max_size=6))
    def many_clients_register_at_once(self, wanted: list[tuple[str, int]]) -> None:
        expected = []
        for name, account in wanted:
            has_it = name in self.model.names and self.model.names[name].account == account
            refusal = self.model.refusal(name, account)
            if name.startswith("lanjami") and not has_it:
                refusal = 403
            if not refusal:
                self.model = self.model.given(name, Kept(account, name))
            expected.append(refusal)
        assert self.run(partial(self._register_all, [signed(*pair) for pair in wanted])) == expected

    # --- the operator ----------------------------------------------------------------------------

    @rule(name=NAMES)
    def a_name_is_removed(self, name: str) -> None:
        self._ask(404 if name not in self.model.names else 0, admin.Remove(name))
        self.model = self.model.without(name)

    @rule(name=NAMES, new=NAMES)
    def a_name_is_renamed(self, name: str, new: str) -> None:
        kept = self.model.names.get(name)
        holder = self.model.names.get(new, kept)
        if kept is None:
            self._ask(404, admin.Rename(name, new))
        elif holder != kept or new in self.model.reserved:
            self._ask(403, admin.Rename(name, new))
        else:
            self._ask(0, admin.Rename(name, new))
            self.model = self.model.without(name).given(new, kept)

    @rule(name=NAMES)
    def a_name_is_reserved(self, name: str) -> None:
        self._ask(0, admin.Reserve(name))
        self.model = replace(self.model, reserved=self.model.reserved | {name})

    @rule(name=NAMES)
    def a_name_is_let_go(self, name: str) -> None:
        self._ask(404 if name not in self.model.reserved else 0, admin.Unreserve(name))
        self.model = replace(self.model, reserved=self.model.reserved - {name})

    @rule(
        wanted=st.lists(st.tuples(NAMES, ACCOUNTS, NAMES), max_size=4),
        is_forged=st.sampled_from([False] * 4 + [True]),
    )
    def names_are_imported(self, wanted: list[tuple[str, int, str]], is_forged: bool) -> None:  # noqa: FBT001
        lines = [Kept(account, proven).record(name) for name, account, proven in wanted]
        after, refusal = self.model, 0
        for name, account, proven in wanted:
            refusal = refusal or after.refusal(name, account)
            after = after.given(name, Kept(account, proven))
        if is_forged:
            other = Kept(0, "another").record("alice")
            lines.append(msgspec.structs.replace(other, id=JamiId("0" * 40)))
            refusal = 400
        file = io.BytesIO(b"".join(record.to_lines(lines)))
        new = self._expect(refusal, partial(self.registry.take, file))
        if not refusal:
            assert new == len(after.names) - len(self.model.names)
            self.model = after

    @rule(name=NAMES)
    def a_name_is_shown(self, name: str) -> None:
        kept = self.model.names.get(name)
        if kept is None:
            self._ask(404, admin.Show(name))
            return
        for asked in (name, account_id(kept.account)):
            assert self._ask(0, admin.Show(asked)) == admin.Shown(kept.record(name), "")

    @rule()
    def every_proof_holds(self) -> None:
        assert b"".join(self._survey(admin.Audit())).strip() == b""

    @rule()
    def what_is_exported_is_there_already(self) -> None:
        file = io.BytesIO(b"".join(self._survey(admin.List())))
        assert self._expect(0, partial(self.registry.take, file)) == 0

    # --- what happens to a box -------------------------------------------------------------------

    @rule()
    def it_is_started_again(self) -> None:
        self.stops()
        self.starts()

    @rule()
    def it_crashes(self) -> None:
        self.crashes()
        self.starts()

    def crashes(self) -> None:
        self.lives += 1
        crashed, self.state = self.state, self.folder / f"state-{self.lives}"
        shutil.copytree(crashed, self.state, ignore=shutil.ignore_patterns("*-shm"))
        self.stops()

    @rule()
    def a_copy_is_made(self) -> None:
        copy = self.folder / f"copy-{len(self.copies)}"
        self.registry.copy_to(copy)
        self.copies[copy] = self.model

    @rule()
    def a_backup_is_made(self) -> None:
        backup = self.folder / f"backup-{len(self.backups)}.zip"
        self.keeper.make(backup)
        self.backups[backup] = self.model

    @rule()
    def the_daily_backup_is_made(self) -> None:
        heard = Heard()
        keeping = self.runner.get_loop().create_task(self.keeper.run(heard))
        self.run(heard.ready.wait)
        assert heard.reasons == [""]
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            self.runner.get_loop().run_until_complete(keeping)
        self.newest_kept = self.model

    @precondition(lambda self: self.backups)
    @rule(which=st.integers(0), was_killed=st.booleans())
    def a_backup_is_restored(self, which: int, was_killed: bool) -> None:  # noqa: FBT001
        backup = list(self.backups)[which % len(self.backups)]
        if was_killed:
            self.crashes()
        else:
            self.stops()
        words = [str(backup), "--state", str(self.state), "--config", str(self.folder / "none")]
        assert CliRunner().invoke(restore, words, catch_exceptions=False).exit_code == 0
        self.model = self.backups[backup]
        self.starts()

    @precondition(lambda self: self.copies)
    @rule(which=st.integers(0))
    def a_copy_is_put_in_place(self, which: int) -> None:
        copy = list(self.copies)[which % len(self.copies)]
        self.stops()
        self._remove_database()
        shutil.copyfile(copy, self.state / "names.sqlite")
        self.model = self.copies[copy]
        self.starts()

    @rule()
    def its_database_is_damaged(self) -> None:
        self.stops()
        self._remove_database()
        (self.state / "names.sqlite").write_bytes(b"this was a database" * 1000)
        self.model, self.is_damaged = self.newest_kept or Model(), True
        self.starts()

    @precondition(lambda self: self.is_damaged)
    @rule()
    def nobody_misses_a_name(self) -> None:
        self.stops()
        for folder in self.state.glob("damaged-*"):
            shutil.rmtree(folder)
        self.is_damaged = False
        self.starts()

    # --- what is always so -----------------------------------------------------------------------

    @invariant()
    def all_is_found_that_is_in_the_model_and_nothing_else(self) -> None:
        expected = [kept.record(name) for name, kept in sorted(self.model.names.items())]
        assert self._records() == expected
        assert self.registry.known() == len(expected)
        assert self._ask(0, admin.Reserved()) == sorted(self.model.reserved)
        for name in ("alice", "bobby", "carol", "david", "lanjami-2"):
            self._require_name(name)
        for account in range(5):
            self._require_account(account)

    def _require_name(self, name: str) -> None:
        kept = self.model.names.get(name)
        if kept is not None:
            assert self.registry.by_name(Name(name)) == kept.record(name)
        elif name in self.model.reserved or name.startswith("lanjami"):
            with pytest.raises(RequestError, match="reserved"):
                self.registry.by_name(Name(name))
        else:
            assert self.registry.by_name(Name(name)) is None

    def _require_account(self, account: int) -> None:
        id, name = JamiId(account_id(account)), self.model.name_of(account)
        if name is not None:
            assert self.registry.name_of(id) == name
            assert self.registry.by_id(id) == self.model.names[name].record(name)
        elif self.is_damaged:
            with pytest.raises(HostError, match="were damaged"):
                self.registry.name_of(id)
        else:
            assert self.registry.name_of(id) is None
            assert self.registry.by_id(id) is None

    def _records(self) -> list[Record]:
        return msgspec.json.Decoder(Record).decode_lines(b"".join(self._survey(admin.List())))

    def _survey(self, request: admin.Survey) -> list[bytes]:
        ask = partial(asyncio.to_thread, list, self.registry.survey(request))
        pages: list[bytes] = self._expect(0, ask)
        return pages

    def _ask(self, refusal: int, request: admin.Request) -> Any:
        return self._expect(refusal, partial(self.registry.perform, request))

    def _expect(self, refusal: int, asked: Callable[[], Awaitable[Any]]) -> Any:
        """What is answered, or nothing where it has to be refused."""
        if not refusal:
            return self.run(asked)
        with pytest.raises(RequestError) as refused:
            self.run(asked)
        assert refused.value.status == refusal, refused.value
        return None

    async def _register_all(self, wanted: list[Registration]) -> list[int]:
        async def register(one: Registration) -> int:
            try:
                await self.registry.register(one, source="127.0.0.1")
            except RequestError as error:
                return error.status
            return 0

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(register(one)) for one in wanted]
        return [task.result() for task in asked]

    def _collect(self, folder: Path) -> None:
        archive.collect(
            folder,
            copy_names=self.registry.copy_to,
            state=self.state,
            config="",
        )

    def _remove_database(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            (self.state / f"names.sqlite{suffix}").unlink(missing_ok=True)

    def run(self, asked: Callable[[], Awaitable[Any]]) -> Any:
        async def within() -> Any:
            async with asyncio.timeout(20):
                return await asked()

        return self.runner.run(within())


async def test_when_it_has_stopped_its_database_is_closed(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"names-{number}.sqlite"
        registry = Registry(path=path)
        async with running(registry):
            await registry.register(signed("alice", 1), source="127.0.0.1")
        assert not await asyncio.to_thread(_is_written_to, path)


def _is_written_to(path: Path) -> bool:
    """Whether this process has a file open for writing."""
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # another thread's, which has closed it
            told = Path("/proc/self/fdinfo", fd.name).read_text()
            flags = int(told.partition("flags:")[2].split()[0], 8)
            if fd.readlink() == path and flags & os.O_ACCMODE != os.O_RDONLY:
                return True
    return False


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(
    max_examples=36,
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to make what fails shorter, which takes minutes, add Phase.shrink
    suppress_health_check=list(HealthCheck),
)
