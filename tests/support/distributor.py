"""A UnifiedPush distributor, the program on a phone that takes the pushes for all others on it:
`/usr/bin/python3 -m tests.support.distributor SERVER PORT BUSY`, with Debian's slixmpp, against
Prosody's mod_unified_push. The first BUSY pushes it does not take.

On its first line is the endpoint that the server gave for the one application, then on one each
what was pushed to that, in base64.
"""

import asyncio
import base64
import hashlib
import sys
from contextlib import suppress
from xml.etree import ElementTree as ET

import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

NAMESPACE = "http://gultsch.de/xmpp/drafts/unified-push"
APPLICATION, INSTANCE = (
    base64.b64encode(hashlib.sha256(name).digest()).decode()
    for name in (b"the application", b"an account in it")
)


async def distribute(server: str, port: int, busy: int) -> None:
    phone = slixmpp.ClientXMPP(
        f"phone@{server}/distributor",
        "any",
        plugin_config={"feature_mechanisms": {"unencrypted_plain": True}},
    )
    started = asyncio.Event()
    phone.add_event_handler("session_start", lambda _: started.set())
    to_refuse = iter(range(busy))

    def pushed(iq: slixmpp.Iq) -> None:
        push = iq.xml.find(f"{{{NAMESPACE}}}push")
        assert (push.get("application"), push.get("instance")) == (APPLICATION, INSTANCE)
        reply = iq.reply()
        if next(to_refuse, None) is None:
            _print(push.text)
        else:
            reply["error"]["condition"] = "recipient-unavailable"
        reply.send()

    pushes = MatchXPath(f"{{jabber:client}}iq/{{{NAMESPACE}}}push")
    phone.register_handler(Callback("push", pushes, pushed))
    await _listens(server, port)
    phone.connect((server, port), disable_starttls=True)
    await started.wait()
    register = ET.Element(
        f"{{{NAMESPACE}}}register", {"application": APPLICATION, "instance": INSTANCE}
    )
    answer = await phone.make_iq_set(sub=register, ito=server).send()
    _print(answer.xml.find(f"{{{NAMESPACE}}}registered").get("endpoint"))
    await phone.disconnected


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _listens(server: str, port: int) -> None:
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(server, port)
            writer.close()
            return
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(distribute(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
