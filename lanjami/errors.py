"""The errors of lanjami, told apart by who must act.

    LanjamiError        str(error) is one sentence that says who, what and where
    ├── ConfigError     the operator edits the configuration; raised only before anything runs
    ├── HostError       the machine refuses for now; retried with backoff, shown in the status
    ├── WireError       a peer sent nonsense; dropped and counted, never leaves its shell
    └── RequestError    a client must ask differently; becomes an HTTP status and a sentence

Anything else that is raised is a bug of ours.
"""


class LanjamiError(Exception):
    """Base of all errors that lanjami raises on purpose."""


class ConfigError(LanjamiError):
    """The configuration is wrong; the message names the place, such as ``$.dht.port``."""


class HostError(LanjamiError):
    """The machine refuses something for now: a taken port, a full disk, a dead child process."""


class WireError(LanjamiError):
    """A datagram that does not follow its protocol."""


class RequestError(LanjamiError):
    """A request that must be asked differently.

    `status` is the HTTP status of the answer, `body` more members of its JSON object.
    """

    def __init__(self, status: int, sentence: str, **body: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.body = body
