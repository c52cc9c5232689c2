"""The gate before the operator's pages: who may pass, and how one signs in.

Every page of the desk is wrapped by `Gate.looking` or `Gate.acting`, which ask for a session
themselves: nothing behind them can forget to.
"""

import asyncio
import importlib.resources
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from lanjami.errors import HostError, RequestError
from lanjami.limits import Limits
from lanjami.runtime import log
from lanjami.status.live import read_catalogues, read_templates, versions
from lanjami.status.operator import rules
from lanjami.status.operator.box import Box
from lanjami.status.operator.pages import Pages
from lanjami.status.operator.passwords import Passwords
from lanjami.status.operator.sessions import Links, Said, Session, Sessions
from lanjami.status.page_api import HEADERS, language, visited

_log = log.get(__name__)

ROOT = "/operator"
LOGIN = f"{ROOT}/login"
COOKIE = "lanjami-operator"
CSRF_FIELD = "X-CSRF"  # the session's token, with what is no form
LARGEST_FORM = 16 * 1024  # bytes
WARN_EVERY_S = 60.0
_MOST_FIELDS = 256
_FORM, _BYTES = "application/x-www-form-urlencoded", "application/octet-stream"

# Browsers send no Origin with a form where no referrer is allowed at all, but "null".
_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "form-action 'none'", "form-action 'self'"
    ),
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
}


@dataclass(slots=True)
class Visit:
    """A request of somebody who signed in, in their language, with what a form has."""

    request: web.Request
    session: Session
    language: str
    form: Mapping[str, str]


Handler = Callable[[Visit], Awaitable[web.StreamResponse]]
_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate:
    """Lets in who knows the password, or has a link."""

    def __init__(self, box: Box, passwords: Passwords) -> None:
        self._box = box
        self._passwords = passwords
        self._sessions = Sessions()
        self._links = Links()
        self._tries = Limits(
            1 / rules.TRY_EVERY_S,
            rules.TRIES_AT_ONCE,
            1 / rules.TRY_OF_ALL_EVERY_S,
            rules.TRIES_OF_ALL_AT_ONCE,
        )
        self._pages: Pages | None = None
        self._warn_at = 0.0

    def routes(self) -> list[web.RouteDef]:
        """Those that are for everybody: signing in."""
        return [
            web.get(LOGIN, self._open(self._login_page)),
            web.post(LOGIN, self._open(self._login)),
            web.get(f"{ROOT}/link", self._open(self._link_page)),
            web.post(f"{ROOT}/link", self._open(self._link)),
            web.post(f"{ROOT}/logout", self.acting(self._logout)),
            web.post(f"{ROOT}/password", self.acting(self._set_password)),
        ]

    def looking(self, handler: Handler) -> _Answer:
        """A page that changes nothing."""

        async def answer(request: web.Request) -> web.StreamResponse:
            session = self._session(request)
            if session is None:
                return redirect(request, LOGIN)
            visit = Visit(request, session, language(request), {})
            return await handler(visit)

        return self._open(answer)

    def acting(self, handler: Handler) -> _Answer:
        """A form, which changes something."""

        async def answer(request: web.Request) -> web.StreamResponse:
            session = self._session(request)
            if session is None:
                return await self._refused(request, "session", 403)
            form = await _form(request)
            if not rules.is_same(form.get("csrf", ""), session.csrf):
                return await self._refused(request, "form", 403)
            visit = Visit(request, session, language(request), form)
            return await handler(visit)

        return self._open(answer)

    def taking(self, handler: Handler, *, largest: int) -> _Answer:
        """A piece of a file, of at most `largest` bytes, with the session's token in a header."""

        async def answer(request: web.Request) -> web.StreamResponse:
            session = self._session(request)
            if session is None:
                return await self._refused(request, "session", 403)
            if not rules.is_same(request.headers.get(CSRF_FIELD, ""), session.csrf):
                return await self._refused(request, "form", 403)
            return await handler(Visit(request, session, language(request), {}))

        return self._open(answer, kind=_BYTES, largest=largest)

    async def draw(
        self, request: web.Request, name: str, *, status: int = 200, here: str = "", **values: Any
    ) -> web.Response:
        """A page of the operator's."""
        pages = await self._drawn()
        spoken = language(request)
        text = pages.draw(name, spoken, here=here or request.path, **values)
        return web.Response(
            text=text,
            status=status,
            content_type="text/html",
            headers={**_HEADERS, "Content-Language": spoken},
        )

    async def show(
        self, visit: Visit, name: str, *, status: int = 200, **values: Any
    ) -> web.Response:
        """A page for who signed in, with what is to be said to them first."""
        said, visit.session.said = visit.session.said, None
        return await self.draw(
            visit.request,
            name,
            can_update=self._box.updates is not None,
            **{"said": said, "csrf": visit.session.csrf, "status": status, **values},
        )

    async def sentence(self, visit: Visit, said: Said) -> str:
        """What the catalogue of their language says."""
        pages = await self._drawn()
        return pages.sentence(visit.language, said.key, **said.values)

    def make_link(self) -> str:
        """The token of a link that lets somebody in, once and soon."""
        token = secrets.token_urlsafe(24)
        self._links.add(token, now=_now())
        return token

    async def forget_password(self) -> None:
        """Let nobody in by a password, and nobody stay."""
        await self._passwords.forget()
        self._sessions.end_all()
        self._links.forget()

    async def keep_password(self, password: str) -> None:
        """Set a password, and let nobody stay who came by another."""
        await self._passwords.keep(password)
        self._sessions.end_all()

    # --- what is before a session ----------------------------------------------------------

    def _open(self, handler: _Answer, *, kind: str = _FORM, largest: int = LARGEST_FORM) -> _Answer:
        """All that a request needs before anybody looks at what it wants."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if not self._is_own_host(request):
                return await self._refused(request, "host", 421)
            if request.method == "POST":
                if not _is_from_own_page(request):
                    return await self._refused(request, "origin", 403)
                if request.content_type != kind:
                    return await self._refused(request, "form", 415)
                if len(await request.read()) > largest:
                    return await self._refused(request, "form", 413)
            return await self._told(request, lambda: handler(request))

        return answer

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        if self._session(request) is not None:
            return redirect(request, ROOT)
        return await self.draw(request, "login", is_set=await self._passwords.is_set(), fault="")

    async def _login(self, request: web.Request) -> web.StreamResponse:
        async def again(fault: str, status: int) -> web.Response:
            answer = await self.draw(request, "login", status=status, is_set=True, fault=fault)
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                answer.headers["Retry-After"] = str(round(rules.TRY_EVERY_S))
            return answer

        form = await _form(request)
        if not await self._passwords.is_set():
            return await self.draw(request, "login", status=403, is_set=False, fault="")
        source = rules.source_of(request.remote or "")
        if over := self._tries.refuse(source, now=_now()):
            self._warn_of_tries(request, over)
            return await again("many_here" if over == "source limit" else "many", 429)
        try:
            is_right = await self._passwords.check(
                form.get("password", "")[: 4 * rules.LONGEST_PASSWORD]
            )
        except HostError as error:
            self._warn_of_tries(request, str(error))
            return await again("busy", 503)
        if not is_right:
            _log.warning("a wrong password for the operator's part", source=request.remote)
            return await again("wrong", 403)
        self._tries.forgive(source)
        return self._let_in(request, by_link=False, to=ROOT)

    def _warn_of_tries(self, request: web.Request, reason: str) -> None:
        """Say once in a while that passwords are tried: who does that would fill the log."""
        if _now() >= self._warn_at:
            self._warn_at = _now() + WARN_EVERY_S
            _log.warning("passwords are refused unseen", reason=reason, source=request.remote)

    async def _link_page(self, request: web.Request) -> web.StreamResponse:
        """Asks once more, so that no program which looks at links uses this one up."""
        token = request.query.get("token", "")
        is_good = self._links.is_good(token, now=_now())
        status = 200 if is_good else 403
        return await self.draw(
            request, "link", status=status, here=LOGIN, token=token if is_good else ""
        )

    async def _link(self, request: web.Request) -> web.StreamResponse:
        form = await _form(request)
        if not self._links.take(form.get("token", ""), now=_now()):
            return await self.draw(request, "link", status=403, here=LOGIN, token="")
        return self._let_in(request, by_link=True, to=f"{ROOT}/box")

    def _let_in(self, request: web.Request, *, by_link: bool, to: str) -> web.Response:
        """A session under a token that is made now: never one that came with the request."""
        self._sessions.end(request.cookies.get(COOKIE, ""))
        token = secrets.token_urlsafe(32)
        session = self._sessions.open(
            token, csrf=secrets.token_urlsafe(32), by_link=by_link, now=_now()
        )
        if by_link:
            session.said = Said("operator.said.by_link")
        _log.info("the operator signed in", source=request.remote, by_link=by_link)
        answer = redirect(request, to)
        answer.set_cookie(COOKIE, token, path=ROOT, httponly=True, samesite="Strict")
        return answer

    # --- with a session --------------------------------------------------------------------

    async def _logout(self, visit: Visit) -> web.StreamResponse:
        self._sessions.end(visit.request.cookies.get(COOKIE, ""))
        answer = redirect(visit.request, LOGIN)
        answer.del_cookie(COOKIE, path=ROOT, httponly=True, samesite="Strict")
        return answer

    async def _set_password(self, visit: Visit) -> web.StreamResponse:
        form, back = visit.form, f"{ROOT}/box"
        fault = rules.fault_of(form.get("new", ""), form.get("again", ""))
        if fault is None and not visit.session.by_link:
            source = rules.source_of(visit.request.remote or "")
            if self._tries.refuse(source, now=_now()):
                fault = "many"
            elif not await self._passwords.check(form.get("old", "")):
                fault = "wrong"
            else:
                self._tries.forgive(source)
        if fault is not None:
            return say(visit, back, Said(f"operator.password.fault.{fault}", is_fault=True))
        await self._passwords.keep(form["new"])
        self._sessions.end_all(but=visit.request.cookies.get(COOKIE, ""))
        self._links.forget()
        _log.info("the operator set a password", source=visit.request.remote)
        return say(visit, back, Said("operator.said.password"))

    def _session(self, request: web.Request) -> Session | None:
        return self._sessions.find(request.cookies.get(COOKIE, ""), now=_now())

    async def _drawn(self) -> Pages:
        if self._pages is None:
            self._pages = await asyncio.to_thread(_load)
        return self._pages

    # --- how a request is refused ----------------------------------------------------------

    async def _told(
        self, request: web.Request, answer: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """What is wrong with a request, or with the machine, as a page: of the machine, whose
        paths and programs may be in it, nothing to who has not signed in."""
        try:
            return await answer()
        except RequestError as error:
            return await self._refused(request, "request", error.status, detail=str(error))
        except HostError as error:
            _log.warning("the operator cannot be served", path=request.path, reason=error)
            detail = "" if self._session(request) is None else str(error)
            return await self._refused(request, "machine", 503, detail=detail)

    async def _refused(
        self, request: web.Request, why: str, status: int, *, detail: str = ""
    ) -> web.Response:
        return await self.draw(
            request, "fault", status=status, here=LOGIN, why=why, detail=detail[:300]
        )

    def _is_own_host(self, request: web.Request) -> bool:
        fields = request.headers.getall("Host", [])
        at, _ = visited(request)
        return len(fields) == 1 and rules.is_own_host(
            fields[0],
            visited=at,
            names=self._box.host_names(),
            addresses=self._box.addresses(),
        )


def redirect(request: web.Request, path: str) -> web.Response:
    """Go and see there; `path` is never of a request's making."""
    where = f"{path}{'&' if '?' in path else '?'}lang={language(request)}"
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={**_HEADERS, "Location": where})


def say(visit: Visit, path: str, said: Said) -> web.Response:
    """Go and see there, where this is said first."""
    visit.session.said = said
    return redirect(visit.request, path)


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a form (URL Standard, 5.1); of one that is there twice the last."""
    try:
        text = (await request.read()).decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise RequestError(400, "this is no form") from error
    return dict(pairs)


def _is_from_own_page(request: web.Request) -> bool:
    return rules.is_from_own_page(
        host=request.headers.get("Host", ""),
        origin=request.headers.get("Origin"),
        site=request.headers.get("Sec-Fetch-Site"),
    )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _load() -> Pages:
    own = importlib.resources.files(__package__) / "templates"
    templates = {file.name: file.read_text("utf-8") for file in own.iterdir()}
    return Pages(
        templates=read_templates() | templates,
        catalogues=read_catalogues(),
        versions=versions(),
    )
