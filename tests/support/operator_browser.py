"""Somebody with a browser and no scripts, who looks after a box."""

import http.client
import re
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(slots=True)
class Desk:
    """Signed in, once `follow` was given a link. A `port` of this host leads to the box, which is
    called `host` there, as a browser has it in its address line."""

    port: int
    host: str
    cookie: str = ""
    csrf: str = ""

    def link(self, printed: str) -> str:
        """The path of the link for here, of all those that `lanjami admin-link` printed."""
        found = re.search(rf"http://{re.escape(self.host)}(/operator/link\?token=\S+)", printed)
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
        headers = {
            "Host": self.host,
            "Origin": f"http://{self.host}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": self.cookie,
        }
        connection = http.client.HTTPConnection("localhost", self.port, timeout=20)
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
