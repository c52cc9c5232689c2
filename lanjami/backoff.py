"""How long to wait before trying again."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits of 1, 2, 4 … 60 s between failures, forgiven after five minutes of success."""

    first_s: float = 1.0
    longest_s: float = 60.0
    forgiven_after_s: float = 300.0
    _failures: int = field(default=0, init=False)

    def failed(self, *, after_s: float) -> float:
        """Seconds to wait after a failure that came `after_s` seconds after the start."""
        if after_s >= self.forgiven_after_s:
            self._failures = 0
        wait_s = min(self.first_s * 2.0**self._failures, self.longest_s)
        self._failures = min(self._failures + 1, 32)
        return wait_s
