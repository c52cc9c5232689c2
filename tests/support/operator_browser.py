"""Somebody with a browser and no scripts, who looks after a box that runs as a program."""

import http.client
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from tests.support.box import Box


@dataclass(slots=True)
class Desk:
    """Signed in, once `follow` was given a link."""

    box: Box
    cookie: str = ""
    csrf: str = ""

    def link(self) -> str:
        """The path of a new link."""
        exit_status, printed, told = self.box.run("admin-link", "--state", str(self.box.state))
        assert exit_status == 0, told
        found = re.search(rf"http://localhost:{self.box.http}(/operator/link\?token=\S+)", printed)
        assert found is not None, printed
        return found[1]

    def follow(self, link: str) -> None:
        token = link.partition("=")[2]
        status, _ = self.post("/operator/link", {"token": token})
        assert status == 303
        self.get("/operator")

    def sign_in(self, password: str) -> bool:
        status, _ = self.post("/operator/login", {"password": password})
        return status == 303

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask("GET", path, b"")

    def post(self, path: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
        return self._ask("POST", path, urlencode({"csrf": self.csrf, **(form or {})}).encode())

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        own = f"localhost:{self.box.http}"
        headers = {
            "Origin": f"http://{own}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": self.cookie,
        }
        connection = http.client.HTTPConnection("localhost", self.box.http, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if cookie := answer.headers["Set-Cookie"]:
            self.cookie = cookie.partition(";")[0]
        if token := re.search(rb'name="csrf" value="([^"]+)"', content):
            self.csrf = token[1].decode()
        return answer.status, content
