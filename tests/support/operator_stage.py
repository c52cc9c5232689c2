"""The operator's part of a box that the tests choose, served on loopback; it notes what is done."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web

from lanjami.box import updating, upload
from lanjami.box.standing import Standing
from lanjami.box.upload import Upload
from lanjami.config import Sources
from lanjami.errors import RequestError
from lanjami.nameserver.names import parse_id, parse_name
from lanjami.nameserver.record import Record
from lanjami.runtime.httpd import HttpServer
from lanjami.runtime.log import Line
from lanjami.status.operator.box import Box, End
from lanjami.status.operator.desk_api import DeskApi
from lanjami.status.operator.gate_api import COOKIE, Gate
from lanjami.status.operator.passwords import Passwords
from lanjami.status.operator.update_api import UpdateApi
from lanjami.status.page_api import static_routes
from tests.support import bundles, page_stage
from tests.support.http_client import Answer, connected
from tests.support.ports import free_port
from tests.support.running import running

PASSWORD = "correct horse battery"
ANN = Record(parse_name("ann"), parse_id("ab" * 20), "0x" + "ab" * 20, "", "", 0, parse_name("ann"))


@dataclass(slots=True)
class Stage:
    """`done` is what the operator had the box do, `shown` how the box is."""

    folder: Path
    shown: page_stage.Stage = field(default_factory=page_stage.Stage)
    done: list[tuple[str, ...]] = field(default_factory=list)
    log: list[Line] = field(default_factory=list)
    kept: str = ""
    standing: Standing = field(default_factory=Standing)
    port: int = field(default_factory=free_port)
    gate: Gate = field(init=False)
    routes: list[web.RouteDef] = field(init=False)

    @property
    def passwords(self) -> Passwords:
        return Passwords(self.folder / "operator-password")

    @property
    def state(self) -> Path:
        """Where updates come to."""
        return self.folder / "state"

    def keep(self, text: str) -> None:
        self.done.append(("settings", text))
        self.kept = text

    # --- the names -------------------------------------------------------------------------

    async def matching(self, pattern: str, *, at_most: int) -> Sequence[Record]:
        return [ANN]

    async def show(self, name_or_id: str) -> tuple[Record, str]:
        if name_or_id != "ann":
            raise RequestError(404, f"nobody has {name_or_id}")
        return ANN, ""

    async def rename(self, name: str, new: str) -> None:
        self._do("rename", parse_name(name), parse_name(new))

    async def remove(self, name: str) -> None:
        self._do("remove", parse_name(name))

    async def reserve(self, name: str) -> None:
        self._do("reserve", parse_name(name))

    async def unreserve(self, name: str) -> None:
        self._do("unreserve", parse_name(name))

    async def reserved(self) -> Sequence[str]:
        return ["mayor"]

    def _do(self, *what: str) -> None:
        if what[-1] == "taken":
            raise RequestError(403, "the name is taken")
        self.done.append(what)


@asynccontextmanager
async def served(folder: Path, *, silent_s: float = upload.SILENT_S) -> AsyncIterator[Stage]:
    stage = Stage(folder)
    stage.state.mkdir()

    def examine(file: Path) -> None:
        updating.examine(file, key=bundles.KEY.public_key(), version="0.1.0")

    updates = Upload(
        stage.state, examine=examine, standing=lambda: stage.standing, silent_s=silent_s
    )

    async def backup(_: web.Request) -> web.StreamResponse:
        stage.done.append(("backup",))
        return web.Response(body=b"PK")

    box = Box(
        snapshot=stage.shown.snapshot,
        host_names=lambda: {"lanjami.local"},
        addresses=list,
        names=stage,
        log=lambda: stage.log,
        restart=lambda name: stage.done.append(("restart", name)),
        sources=Sources(),
        keep_settings=stage.keep,
        kept_settings=lambda: stage.kept,
        interfaces=lambda: {"eth0": (), "wlan0": ()},
        radios=lambda: ["wlan0"],
        has_rights=lambda: True,
        ends=list(End),
        end=lambda end: stage.done.append(("end", end)),
        updates=updates,
    )
    stage.gate = Gate(box, stage.passwords)
    update = UpdateApi(updates, stage.gate, version="0.1.0", piece=upload.PIECE)
    stage.routes = [
        *stage.gate.routes(),
        *DeskApi(box, stage.gate, backup=backup).routes(),
        *update.routes(),
    ]
    server = HttpServer(
        ports=[stage.port],
        routes=lambda: [*stage.routes, *static_routes()],
        probe="/operator",
        largest_body=upload.PIECE,
    )
    async with running(server):
        yield stage


@dataclass(slots=True)
class Browser:
    """Keeps a cookie and the last page's token, as a browser does; says where a form is from."""

    stage: Stage
    cookie: str = ""
    csrf: str = ""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.stage.port}"

    async def get(self, path: str, *fields: str) -> Answer:
        return await self.ask("GET", path, b"", f"Host: {self.host}", *fields)

    async def post(self, path: str, form: Mapping[str, str] | None = None, *fields: str) -> Answer:
        """A form as this server's own page sends it."""
        body = urlencode({"csrf": self.csrf, **(form or {})}).encode()
        return await self.send(path, body, f"Origin: http://{self.host}", *fields)

    async def piece(self, path: str, body: bytes, *fields: str, csrf: str = "") -> Answer:
        """A piece of a file as a script of this server's own page sends it."""
        own = (f"Origin: http://{self.host}", f"X-CSRF: {csrf or self.csrf}")
        return await self.send(path, body, *own, *fields, type="application/octet-stream")

    async def send(self, path: str, body: bytes, *fields: str, type: str = "") -> Answer:
        kind = type or "application/x-www-form-urlencoded"
        return await self.ask(
            "POST", path, body, f"Host: {self.host}", f"Content-Type: {kind}", *fields
        )

    async def ask(self, method: str, path: str, body: bytes, *fields: str) -> Answer:
        head = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}", *fields]
        if self.cookie:
            head.append(f"Cookie: {COOKIE}={self.cookie}")
        async with connected(self.stage.port) as client:
            answer = await client.ask("\r\n".join([*head, "", ""]).encode() + body)
        if found := re.match(rf"{COOKIE}=\"?([^;\"]*)", answer.fields.get("set-cookie", "")):
            self.cookie = found[1]
        if token := re.search(rb'name="csrf" value="([^"]+)"', answer.body):
            self.csrf = token[1].decode()
        return answer

    async def sign_in(self, password: str = PASSWORD) -> Answer:
        answer = await self.post("/operator/login", {"password": password})
        if answer.status == 303:
            await self.get("/operator")
        return answer
