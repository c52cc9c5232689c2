"""Pushes that only their receiver reads, against RFC 8291's own example."""

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode.webpush import LONGEST, RECORD_SIZE, Keys, encrypt, parse_topic
from lanjami.errors import RequestError
from tests.support.push_receiver import Application

# RFC 8291, 5 and appendix A
TEXT = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
RECEIVER = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
MESSAGE = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
    "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
    "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def _private(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(_bytes(text)), ec.SECP256R1())


def test_the_example_of_the_standard() -> None:
    keys = parse_topic(f"{PUBLIC}|{AUTH}")
    assert keys == Keys(_bytes(PUBLIC), _bytes(AUTH))
    sealed = encrypt(TEXT, keys, private=_private(SENDER), salt=_bytes(SALT))
    assert sealed == _bytes(MESSAGE)
    assert Application(_private(RECEIVER), _bytes(AUTH)).read(sealed) == TEXT


@given(
    text=st.binary(max_size=3000) | st.just(bytes(LONGEST)),
    auth=st.binary(min_size=16, max_size=16),
)
def test_the_receiver_reads_any_text(text: bytes, auth: bytes) -> None:
    receiver = Application(auth=auth)
    sender = ec.generate_private_key(ec.SECP256R1())
    sealed = encrypt(text, Keys(receiver.public, auth), private=sender, salt=bytes(16))
    assert receiver.read(sealed) == text
    assert len(sealed) <= RECORD_SIZE, "what every push service takes"


@pytest.mark.parametrize("topic", ["", "cx.ring", "net.jami.App"])
def test_an_application_s_name_has_no_keys(topic: str) -> None:
    assert parse_topic(topic) is None


def test_keys_come_in_either_alphabet() -> None:
    plain = base64.b64encode(_bytes(PUBLIC)).decode()
    assert "+" in plain or "/" in plain
    assert parse_topic(f"{plain}|{AUTH}==") == parse_topic(f"{PUBLIC}|{AUTH}")


@pytest.mark.parametrize(
    "topic", ["|", f"|{AUTH}", f"{PUBLIC}|", f"{PUBLIC}|AAAA", f"AAAA|{AUTH}", f"ä|{AUTH}",
              f"%{PUBLIC[1:]}|{AUTH}", f"{PUBLIC[:-4]}AAAA|{AUTH}"],
)  # fmt: skip
def test_keys_that_are_none_are_refused(topic: str) -> None:
    with pytest.raises(RequestError):
        parse_topic(topic)


@given(st.text())
def test_any_topic_is_read_or_refused(topic: str) -> None:
    with suppress(RequestError):
        parse_topic(topic + "|" + topic)
