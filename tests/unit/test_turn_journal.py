"""What is counted of coturn's log. The lines were written by coturn 4.6.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.turn.journal import UNREACHED, Journal, is_complaint

CONNECTED = "tcp_peer_connection_completed_callback"
PACKET = "11: : session 000000000000000002: realm <ring> user <ring>: incoming packet"
NEW = "10: : session 001000000000000004: new, realm=<ring>, username=<ring>, lifetime=600"
GONE = "38: : session 001000000000000004: delete: realm=<ring>, username=<ring>"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{PACKET} message processed, error 403: Forbidden IP", "forbidden peer"),
        (f"{PACKET} message processed, error 486: Allocation Quota Reached", "over the quota"),
        (f"9: : {CONNECTED}: failure to connect from 10.0.0.9:5 to 10.0.0.1:80", UNREACHED),
        ("3: : ERROR: check_stun_auth: user ring credentials are incorrect", "wrong password"),
        ("3: : ERROR: check_stun_auth: Cannot find credentials of user <kim>", "wrong password"),
        # how everybody begins, and how a nonce that is old is exchanged
        (f"{PACKET} message processed, error 401: Unauthorized", None),
        (f"{PACKET} message processed, error 438: Wrong nonce", None),
        # the same is said twice, the other time by its method
        (f"{PACKET} CREATE_PERMISSION processed, error 403: Forbidden IP", None),
        ("10: : IPv4. Local relay addr: 10.77.1.1:61217", None),
    ],
)
def test_refusals_are_counted_once_and_by_reason(line: str, reason: str | None) -> None:
    journal = Journal()
    assert journal.hear(line) == reason
    assert journal.refused == ({reason: 1} if reason else {})


def test_relays_are_counted_while_they_are_there() -> None:
    journal = Journal(checker="checker")
    journal.hear(NEW)
    journal.hear(NEW.replace("004:", "005:").replace("<ring>, life", "<checker>, life"))
    assert (journal.allocations, len(journal.sessions)) == (1, 1)
    journal.hear(GONE)
    journal.hear(GONE)
    assert (journal.allocations, len(journal.sessions)) == (1, 0)


def test_what_the_box_itself_is_refused_is_not_counted() -> None:
    journal = Journal(checker="checker")
    said = f"{PACKET} message processed, error 486: Allocation Quota Reached"
    assert journal.hear(said.replace("user <ring>", "user <checker>")) is None
    assert journal.hear(said) == "over the quota"
    assert journal.refused.total() == 1


def test_complaints_are_told_from_chatter() -> None:
    assert is_complaint("0: : ERROR: Cannot bind TLS/TCP listener socket to addr 10.0.0.1:3478")
    assert is_complaint("0: : WARNING: cannot find certificate file")
    assert not is_complaint(NEW)


def test_who_connects_from_a_forbidden_address_is_counted() -> None:
    journal = Journal()
    said = "tcp_peer_accept_connection: an attempt to connect from a peer with forbidden address"
    assert journal.hear(f"3: : ERROR: {said}: 127.0.0.1:5") == "forbidden peer"


@given(
    st.lists(
        st.text()
        | st.builds(
            "session {}: {}".format,
            st.text("0123456789", max_size=20),
            st.text()
            | st.builds("incoming packet message processed, error {}: ".format, st.text()),
        )
        | st.integers(0).map(
            lambda n: f"session 1: user <>: incoming packet message processed, error {n}: x"
        )
    )
)
def test_any_line_is_heard(lines: list[str]) -> None:
    journal = Journal()
    reasons = [journal.hear(line) for line in lines]
    assert journal.refused.total() == sum(reason is not None for reason in reasons)
