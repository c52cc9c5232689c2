"""Write tokens: who puts or listens shows that it receives what is sent to its address."""

import hashlib
import hmac

from lanjami.dhtnode.endpoint import Endpoint

LENGTH = 32  # TOKEN_SIZE, OpenDHT include/opendht/dht.h
SHORTEST_S, LONGEST_S = 15 * 60.0, 45 * 60.0  # between rotations: Dht::rotateSecrets


class Tokens:
    """Tokens bound to an address and a port; each is good for one to two rotations."""

    def __init__(self, secret: bytes) -> None:
        self._secret = self._old = secret

    def rotate(self, secret: bytes) -> None:
        """Give out tokens made with `secret` (16 bytes or more, random) from now on."""
        self._secret, self._old = secret, self._secret

    def make(self, endpoint: Endpoint) -> bytes:
        return _token(self._secret, endpoint)

    def is_good(self, token: bytes, endpoint: Endpoint) -> bool:
        return hmac.compare_digest(token, self.make(endpoint)) or hmac.compare_digest(
            token, _token(self._old, endpoint)
        )


def _token(secret: bytes, endpoint: Endpoint) -> bytes:
    bound_to = endpoint.ip + endpoint.port.to_bytes(2)
    return hashlib.blake2b(bound_to, key=secret, digest_size=LENGTH).digest()
