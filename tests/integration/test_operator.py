"""The operator's part over HTTP: nothing of it without a session, and nothing by a foreign page."""

import asyncio
import re
import threading
from urllib.parse import urlencode

import argon2
import msgspec
import pytest

from lanjami.runtime.log import Line
from lanjami.status.operator import passwords, rules
from lanjami.status.operator.gate_api import COOKIE, LARGEST_FORM
from lanjami.status.snapshot import Service
from tests.support.http_client import connected
from tests.support.operator_stage import PASSWORD, Browser, Stage
from tests.support.page_stage import DOWN, UP

pytestmark = pytest.mark.usefixtures("quick_hashes")

HASHER = passwords._HASHER  # noqa: SLF001 - as it is without these tests
WITHOUT_SESSION = {"/operator/login", "/operator/link"}
FORMS = {
    "/operator/restart": {"part": "names"},
    "/operator/names/rename": {"name": "ann", "new": "anna"},
    "/operator/names/remove": {"name": "ann"},
    "/operator/names/reserve": {"name": "mayor"},
    "/operator/names/unreserve": {"name": "mayor"},
    "/operator/backup": {},
    "/operator/network": {"role.eth0": "network"},
    "/operator/network/forget": {},
    "/operator/box/end": {"end": "stop", "sure": "1"},
    "/operator/password": {"old": PASSWORD, "new": "another password", "again": "another password"},
    "/operator/logout": {},
    "/operator/update/begin": {"size": "100"},
    "/operator/update/end": {"token": "guess"},
}
PIECE = "/operator/update/piece"


@pytest.fixture
def visitor(stage: Stage) -> Browser:
    return Browser(stage)


@pytest.fixture
async def operator(stage: Stage) -> Browser:
    browser = Browser(stage)
    assert (await browser.sign_in()).status == 303
    return browser


async def _is_signed_in(browser: Browser) -> bool:
    return (await browser.get("/operator")).status == 200


async def _unchanged(stage: Stage) -> bool:
    is_untouched = not stage.done and not any(stage.state.iterdir())
    return is_untouched and await stage.passwords.check(PASSWORD)


# --- without a session --------------------------------------------------------------------------


async def test_what_is_wrong_with_the_machine_is_told_to_who_signed_in_only(
    stage: Stage, operator: Browser, visitor: Browser
) -> None:
    file = stage.folder / "operator-password"
    file.unlink()
    file.mkdir()  # nobody can read it
    form = {"old": PASSWORD, "new": "another password", "again": "another password"}
    for answer in (
        await visitor.get("/operator/login"),
        await visitor.post("/operator/login", {"password": PASSWORD}),
    ):
        assert answer.status == 503
        assert b"The box cannot do this at the moment." in answer.body
        assert str(stage.folder).encode() not in answer.body
        assert b"operator-password" not in answer.body
    told = await operator.post("/operator/password", form)
    assert told.status == 503
    assert b"operator-password cannot be read: Is a directory" in told.body


def test_every_form_is_tried(stage: Stage) -> None:
    posted = {route.path for route in stage.routes if route.method == "POST"}
    assert posted == FORMS.keys() | WITHOUT_SESSION | {PIECE}
    assert {route.method for route in stage.routes} == {"GET", "POST"}


@pytest.mark.parametrize("cookie", ["", "guess", "../../etc/passwd", "x" * 4000])
async def test_no_page_is_shown_and_nothing_done_without_a_session(
    stage: Stage, visitor: Browser, cookie: str
) -> None:
    for route in stage.routes:
        if route.path in WITHOUT_SESSION:
            continue
        visitor.cookie = cookie
        if route.method == "GET":
            answer = await visitor.get(route.path)
            assert answer.status == 303, route.path
            assert answer.fields["location"] == "/operator/login?lang=en"
            assert answer.body == b""
        else:
            if route.path == PIECE:
                answer = await visitor.piece(PIECE, b"x", csrf="guess")
            else:
                answer = await visitor.post(route.path, FORMS[route.path])
            assert answer.status == 403, route.path
            assert b"You are not signed in any more" in answer.body
    assert await _unchanged(stage)


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "SUBSCRIBE", "LISTEN"]
)
async def test_other_methods_do_nothing(stage: Stage, operator: Browser, method: str) -> None:
    for path in (*FORMS, PIECE):
        answer = await operator.ask(method, path, b"", f"Host: {operator.host}")
        assert answer.status in (400, 404, 405), path
    assert await _unchanged(stage)


@pytest.mark.parametrize(
    "path",
    [
        "/operator/../operator/box",
        "/operator/%2e%2e/operator/box",
        "/operator/names/one/../../box",
        "/operator//box",
        "/operator/../../../../etc/passwd",
        "/operator/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/operator/login/../box",
        "/status/../operator/box",
        "/status/%2e%2e/operator/templates/box.html",
        "/operator/box;lang=en",
        "/OPERATOR/box",
    ],
)
async def test_no_way_leads_around_the_gate(visitor: Browser, path: str) -> None:
    answer = await visitor.get(path)
    assert answer.status in (303, 400, 404), path
    assert b"csrf" not in answer.body
    assert b"root:" not in answer.body


# --- foreign pages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Origin: null",),
        ("Origin: http://evil.example",),
        ("Origin: http://127.0.0.1:1",),
        ("Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: cross-site"),
        ("Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-site"),
    ],
)
async def test_a_form_of_a_foreign_page_does_nothing(
    stage: Stage, operator: Browser, fields: tuple[str, ...]
) -> None:
    told = [field.format(port=stage.port) for field in fields]
    for path, form in FORMS.items():
        body = urlencode({"csrf": operator.csrf, **form}).encode()
        answer = await operator.send(path, body, *told)
        assert answer.status == 403, path
    token = f"X-CSRF: {operator.csrf}"
    answer = await operator.send(PIECE, b"x", *told, token, type="application/octet-stream")
    assert answer.status == 403
    assert await _unchanged(stage)
    assert await _is_signed_in(operator)


@pytest.mark.parametrize("token", ["", "guess", "ü", "x" * 5000])
async def test_a_form_without_the_sessions_token_does_nothing(
    stage: Stage, operator: Browser, token: str
) -> None:
    for path, form in FORMS.items():
        answer = await operator.post(path, {**form, "csrf": token})
        assert answer.status == 403, path
        assert b"nothing was done" in answer.body
    if token.isascii():
        answer = await operator.piece(PIECE, b"x", csrf=token or "none")
        assert answer.status == 403
    assert await _unchanged(stage)
    assert await _is_signed_in(operator)


async def test_the_token_of_another_session_does_nothing(stage: Stage, operator: Browser) -> None:
    other = Browser(stage)
    await other.sign_in()
    assert other.csrf != operator.csrf
    answer = await operator.post("/operator/names/remove", {"name": "ann", "csrf": other.csrf})
    assert answer.status == 403
    assert stage.done == []


@pytest.mark.parametrize(
    "hosts",
    [
        ("Host: evil.example",),
        ("Host: 127.0.0.1.evil.example:{port}",),
        ("Host: 10.9.9.9:{port}",),
        ("Host: 127.0.0.1:{port}", "Host: evil.example"),
        ("Host: evil.example", "X-Forwarded-Host: 127.0.0.1:{port}"),
        (),
    ],
)
async def test_a_name_that_is_made_to_lead_here_leads_nowhere(
    stage: Stage, operator: Browser, hosts: tuple[str, ...]
) -> None:
    told = [host.format(port=stage.port) for host in hosts]
    origin = f"Origin: http://{told[0].partition(': ')[2]}" if told else "Origin: http://evil"
    kind = "Content-Type: application/x-www-form-urlencoded"
    body = f"csrf={operator.csrf}&name=ann".encode()
    for method, path, content in (
        ("GET", "/operator", b""),
        ("GET", "/operator/login", b""),
        ("POST", "/operator/names/remove", body),
    ):
        answer = await operator.ask(method, path, content, *told, origin, kind)
        assert answer.status in (400, 421), path
        assert operator.csrf.encode() not in answer.body
    assert stage.done == []


async def test_who_names_no_host_is_shown_nothing(stage: Stage, operator: Browser) -> None:
    request = f"GET /operator HTTP/1.0\r\nCookie: {COOKIE}={operator.cookie}\r\n\r\n"
    async with connected(stage.port) as client:
        assert (await client.ask(request.encode())).status == 421


async def test_the_boxs_name_leads_here(operator: Browser) -> None:
    answer = await operator.ask("GET", "/operator", b"", "Host: lanjami.local")
    assert answer.status == 200


async def test_pages_are_neither_kept_framed_nor_loaded_from_elsewhere(operator: Browser) -> None:
    pages = ["", "/names", "/names/one?name=ann", "/log", "/network", "/box", "/update"]
    for path in (*(f"/operator{page}" for page in pages), "/operator/link"):
        answer = await operator.get(path)
        policy = answer.fields["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.fields["cache-control"] == "no-store"
        assert answer.fields["x-content-type-options"] == "nosniff"
        # browsers send "Origin: null" with a form where there is no referrer at all
        assert answer.fields["referrer-policy"] == "same-origin"
        assert not re.search(rb"<script(?! src=)|<style|\son\w+=|style=", answer.body)


# --- sessions -----------------------------------------------------------------------------------


async def test_the_cookie_is_for_this_part_alone_and_no_script(stage: Stage) -> None:
    answer = await Browser(stage).sign_in()
    told = {part.strip() for part in answer.fields["set-cookie"].split(";")[1:]}
    assert {"HttpOnly", "SameSite=Strict", "Path=/operator"} <= told


async def test_a_session_that_somebody_chose_is_none(stage: Stage) -> None:
    victim = Browser(stage, cookie="chosen by another")
    await victim.sign_in()
    assert victim.cookie != "chosen by another"
    assert len(victim.cookie) >= 40
    assert await _is_signed_in(victim)
    assert not await _is_signed_in(Browser(stage, cookie="chosen by another"))


async def test_signing_in_again_ends_the_session_before(stage: Stage, operator: Browser) -> None:
    before = operator.cookie
    await operator.sign_in()
    assert operator.cookie != before
    assert not await _is_signed_in(Browser(stage, cookie=before))


async def test_who_signs_out_is_out_everywhere(stage: Stage, operator: Browser) -> None:
    before = operator.cookie
    answer = await operator.post("/operator/logout")
    assert answer.fields["location"].startswith("/operator/login")
    assert operator.cookie == ""
    assert not await _is_signed_in(Browser(stage, cookie=before))


async def test_a_new_password_signs_everybody_else_out(stage: Stage, operator: Browser) -> None:
    other = Browser(stage)
    await other.sign_in()
    await operator.post("/operator/password", FORMS["/operator/password"])
    assert b"The password is set." in (await operator.get("/operator/box")).body
    assert not await _is_signed_in(other)
    assert (await other.sign_in()).status == 403
    assert (await other.sign_in("another password")).status == 303


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"old": "wrong password"}, b"not the password until now"),
        ({"old": ""}, b"not the password until now"),
        ({"new": "short", "again": "short"}, b"at least ten characters"),
        ({"again": "something else"}, b"differ"),
    ],
)
async def test_a_password_is_not_changed_so(
    stage: Stage, operator: Browser, form: dict[str, str], told: bytes
) -> None:
    await operator.post("/operator/password", {**FORMS["/operator/password"], **form})
    assert told in (await operator.get("/operator/box")).body
    assert await stage.passwords.check(PASSWORD)


async def test_the_password_is_kept_as_a_hash_for_its_user_alone(stage: Stage) -> None:
    file = stage.folder / "operator-password"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("$argon2id$")
    assert PASSWORD not in file.read_text()


# --- the first password, and a link ----------------------------------------------------------


async def test_without_a_password_nobody_can_be_the_first(stage: Stage, visitor: Browser) -> None:
    await stage.passwords.forget()
    assert b"lanjami admin-link" in (await visitor.get("/operator/login")).body
    for guess in ("", "x", PASSWORD):
        assert (await visitor.sign_in(guess)).status == 403
    assert not await _is_signed_in(visitor)
    assert not await stage.passwords.is_set()


async def test_a_link_lets_in_once_and_sets_the_first_password(stage: Stage) -> None:
    await stage.passwords.forget()
    token = stage.gate.make_link()
    browser = Browser(stage)
    for _ in range(2):  # whoever only looks at a link does not use it up
        assert token.encode() in (await browser.get(f"/operator/link?token={token}")).body
    answer = await browser.post("/operator/link", {"token": token})
    assert answer.status == 303
    assert b'name="old"' not in (await browser.get("/operator/box")).body
    again = Browser(stage)
    assert (await again.post("/operator/link", {"token": token})).status == 403
    assert not await _is_signed_in(again)
    await browser.post("/operator/password", {"new": "first password", "again": "first password"})
    assert await stage.passwords.check("first password")


@pytest.mark.parametrize("token", ["", "guess", "%00", "x" * 3000])
async def test_no_other_link_lets_in(stage: Stage, visitor: Browser, token: str) -> None:
    stage.gate.make_link()
    assert (await visitor.get(f"/operator/link?token={token}")).status == 403
    assert (await visitor.post("/operator/link", {"token": token})).status == 403
    assert not await _is_signed_in(visitor)


async def test_a_link_is_not_taken_from_a_foreign_page(stage: Stage, visitor: Browser) -> None:
    token = stage.gate.make_link()
    body = f"token={token}".encode()
    for fields in ((), ("Origin: http://evil.example",)):
        assert (await visitor.send("/operator/link", body, *fields)).status == 403
    assert visitor.cookie == ""


async def test_a_forgotten_password_lets_nobody_stay(stage: Stage, operator: Browser) -> None:
    token = stage.gate.make_link()
    await stage.gate.forget_password()
    assert not await _is_signed_in(operator)
    assert (await Browser(stage).post("/operator/link", {"token": token})).status == 403


# --- brute force ------------------------------------------------------------------------------


async def test_passwords_are_not_tried_for_long(stage: Stage, visitor: Browser) -> None:
    for _ in range(rules.TRIES_AT_ONCE):
        answer = await visitor.sign_in("wrong password")
        assert answer.status == 403
        assert b"This is not the password." in answer.body
    answer = await visitor.sign_in(PASSWORD)
    assert answer.status == 429, "not even the right one"
    assert b"Try again in a minute." in answer.body
    assert answer.fields["retry-after"] == "60"
    browser = Browser(stage)  # a link is there for who is kept out so
    await browser.post("/operator/link", {"token": stage.gate.make_link()})
    assert await _is_signed_in(browser)


async def test_who_signs_in_rightly_is_not_kept_out(stage: Stage) -> None:
    for _ in range(rules.TRIES_AT_ONCE + 2):
        assert (await Browser(stage).sign_in()).status == 303


async def test_old_passwords_are_not_tried_for_long_either(stage: Stage, operator: Browser) -> None:
    form = {**FORMS["/operator/password"], "old": "wrong password"}
    for _ in range(rules.TRIES_AT_ONCE):
        await operator.post("/operator/password", form)
    await operator.post("/operator/password", FORMS["/operator/password"])
    assert b"Too many passwords were tried." in (await operator.get("/operator/box")).body
    assert await stage.passwords.check(PASSWORD)


# --- what is typed ------------------------------------------------------------------------------


async def test_the_desk_does_what_is_asked(stage: Stage, operator: Browser) -> None:
    for path, form in FORMS.items():
        if path not in ("/operator/password", "/operator/logout", "/operator/update/end"):
            assert (await operator.post(path, form)).status in (200, 303), path
    for _ in range(200):  # what is done after the answer
        if len(stage.done) == 10:
            break
        await operator.get("/operator")
    names = [("rename", "ann", "anna"), ("remove", "ann"), ("reserve", "mayor")]
    assert set(names) <= set(stage.done)
    assert {("unreserve", "mayor"), ("backup",), ("restart", "names")} <= set(stage.done)
    assert ("settings", "") in stage.done
    assert ("end", "stop") in stage.done


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/operator/restart", {"part": "../../x"}, 404),
        ("/operator/restart", {}, 404),
        ("/operator/box/end", {"end": "explode"}, 400),
        ("/operator/box/end", {}, 400),
        ("/operator/box/end", {"end": "stop"}, 303),
        ("/operator/box/end", {"end": "power-off"}, 303),
        ("/operator/names/remove", {"name": "../../etc/passwd"}, 303),
        ("/operator/names/remove", {"name": "ann\r\nSet-Cookie: x=1"}, 303),
        ("/operator/names/remove", {}, 303),
        ("/operator/names/rename", {"name": "ann", "new": "taken"}, 303),
        ("/operator/names/rename", {"name": "ann", "new": "<script>"}, 303),
        ("/operator/names/reserve", {"name": "x" * 9000}, 303),
        ("/operator/network", {"role.eth0": "network", "address.eth0": "1\r\n2"}, 400),
        ("/operator/network", {"wifi.interface": "wlan0", "wifi.ssid": '"\n[dht]'}, 400),
    ],
)
async def test_what_cannot_be_is_not_done(
    stage: Stage, operator: Browser, path: str, form: dict[str, str], status: int
) -> None:
    answer = await operator.post(path, form)
    assert answer.status == status
    assert "x" not in answer.fields.get("set-cookie", "")
    assert stage.done == []
    if status == 303:
        page = await operator.get(answer.fields["location"])
        assert b'role="alert"' in page.body
        assert b"<script>" not in page.body


async def test_a_line_that_is_typed_is_no_line_of_the_answer(operator: Browser) -> None:
    for target in (
        "/operator?lang=de%0d%0aSet-Cookie:%20x=1",
        "/operator/login?lang=%0d%0aLocation:%20http://evil",
        "/operator/names?q=%0d%0aX-Evil:%201",
        "/operator/names/one?name=%0d%0aX-Evil:%201",
    ):
        answer = await operator.get(target)
        assert not {"x-evil", "set-cookie"} & answer.fields.keys()
        assert "evil" not in answer.fields.get("location", "")


async def test_what_is_typed_is_shown_as_text(operator: Browser) -> None:
    answer = await operator.get("/operator/names?q=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E")
    assert b"<img" not in answer.body
    assert b"&lt;img" in answer.body


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"csrf={csrf}&name=ann&x=" + b"x" * LARGEST_FORM, "", 413),
        (b"csrf={csrf}&name=ann" + b"&a=" * 1000, "", 400),
        (b"csrf={csrf}&name=%ff", "", 400),
        (b"csrf={csrf}&name=\xff", "", 400),
        (b"csrf={csrf}&name=ann", "text/plain", 415),
        (b'{"csrf": "{csrf}", "name": "ann"}', "application/json", 415),
        (b"csrf={csrf}&name=ann", "multipart/form-data; boundary=x", 415),
    ],
)
async def test_a_form_is_small_and_nothing_else(
    stage: Stage, operator: Browser, body: bytes, kind: str, status: int
) -> None:
    body = body.replace(b"{csrf}", operator.csrf.encode())
    answer = await operator.send(
        "/operator/names/remove", body, f"Origin: http://{operator.host}", type=kind
    )
    assert answer.status == status
    assert stage.done == []
    assert await _is_signed_in(operator)


async def test_the_log_is_shown_as_text(stage: Stage, operator: Browser) -> None:
    stage.log = [Line(0.0, "WARNING", "<script>alert(1)</script>"), Line(0.0, "INFO", "all well")]
    page = (await operator.get("/operator/log")).body
    assert b"&lt;script&gt;" in page
    assert b"<script>" not in page
    assert b"all well" in page
    assert b"all well" not in (await operator.get("/operator/log?bad=1")).body


async def test_a_passphrase_is_never_shown(stage: Stage, operator: Browser) -> None:
    form = {
        "wifi.interface": "wlan0",
        "wifi.ssid": "Haus",
        "wifi.passphrase": "open sesame",
        "wifi.country": "DE",
    }
    await operator.post("/operator/network", form)
    assert "open sesame" in stage.kept
    page = (await operator.get("/operator/network")).body
    assert b"Haus" in page
    assert b"open sesame" not in page


async def test_what_was_typed_is_there_again_where_it_was_not_taken(
    stage: Stage, operator: Browser
) -> None:
    form = {
        "role.eth0": "dns",
        "wifi.interface": "wlan0",
        "wifi.ssid": '<b>"Haus" 7',
        "wifi.passphrase": "kurz",
        "wifi.country": "DE",
        "wifi.channel": "11",
    }
    answer = await operator.post("/operator/network", form)
    assert answer.status == 400
    page = answer.body.decode()
    assert "The passphrase has 8 to 63 characters" in page
    assert 'name="role.eth0" value="dns" checked' in page
    assert 'value="&lt;b&gt;&#34;Haus&#34; 7"' in page
    assert '<option value="11" selected>' in page
    assert "<option selected>wlan0" in page
    assert "kurz" not in page
    assert stage.done == []


@pytest.mark.parametrize("language", ["en", "de"])
async def test_every_page_is_there_in_each_language(operator: Browser, language: str) -> None:
    for page in ("", "/names", "/names/one?name=ann", "/log", "/network", "/box", "/link"):
        sign = "&" if "?" in page else "?"
        answer = await operator.get(f"/operator{page}{sign}lang={language}")
        assert answer.status in (200, 403), page
        assert f'<html lang="{language}">'.encode() in answer.body
    answer = await operator.post(f"/operator/restart?lang={language}", {"part": "names"})
    assert f'<html lang="{language}">'.encode() in answer.body


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize(
    ("services", "level"),
    [
        (
            {
                "dhtnode": UP,
                "names": DOWN,
                "setup": msgspec.structs.replace(UP, reason="a mistake"),
            },
            b"limited",
        ),
        ({"dhtnode": DOWN, "names": UP}, b"broken"),
        ({"dhtnode": Service("starting", "", "", 0), "names": UP}, b"starting"),
    ],
)
async def test_a_box_that_is_worse_off_is_shown_to_who_looks_after_it(
    stage: Stage, operator: Browser, services: dict[str, Service], level: bytes, language: str
) -> None:
    stage.shown.services = services
    answer = await operator.get(f"/operator?lang={language}")
    assert answer.status == 200
    assert b'<div class="hero ' + level in answer.body
    for service in services.values():
        assert service.reason.encode() in answer.body


class _SlowHasher:
    """Takes as long for a password as the test likes."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.at_once = 0
        self.most_at_once = 0

    def verify(self, kept: str, given: str) -> bool:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.may_end.wait(10)
        self.at_once -= 1
        return given == PASSWORD


async def test_few_passwords_are_computed_at_once_and_nobody_else_waits_for_them(
    stage: Stage, visitor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = _SlowHasher()
    monkeypatch.setattr(passwords, "_HASHER", slow)
    async with asyncio.TaskGroup() as tasks:
        signing_in = [
            tasks.create_task(Browser(stage).sign_in()) for _ in range(passwords.MOST_WAITING + 1)
        ]
        await asyncio.wait(signing_in, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = [task.result() for task in signing_in if task.done()]
        assert refused.status == 503
        assert b"busy checking passwords" in refused.body
        assert (await visitor.get("/operator/login")).status == 200
        slow.may_end.set()
    assert sorted(task.result().status for task in signing_in) == [303] * 4 + [503]
    assert slow.most_at_once == 1


def test_a_password_takes_memory_and_time_to_try() -> None:
    used = argon2.extract_parameters(HASHER.hash("x"))
    assert used.type is argon2.Type.ID
    assert used.memory_cost >= 19456, "OWASP's least"
    assert used.time_cost >= 2
