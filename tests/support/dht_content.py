"""What the values in the tests with real nodes hold."""


def content(id: int, size: int) -> bytes:
    """The bytes of the value `id`."""
    return (id.to_bytes(2) * (size // 2 + 1))[:size]
