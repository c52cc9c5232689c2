"""`/metrics` of a running box, read by a foreign parser, and refused to who is not to read it."""

import http.client
import json
import sys

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from lanjami.status import metrics
from tests.support.box import Box

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

LOOPBACK = 'metrics.networks=["127.0.0.2"]'


def _ask(box: Box, *, source: str = "127.0.0.1", accept: str = "") -> tuple[int, str, str]:
    """The status, the type and the text of the answer to who asks from an address."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", box.http, timeout=10, source_address=(source, 0)
    )
    try:
        connection.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def test_who_may_ask_is_told_and_others_are_refused_and_counted(box: Box) -> None:
    box.running("--set", LOOPBACK)
    exit_status, kind, text = _ask(box)
    assert (exit_status, kind) == (403, "application/json")
    assert json.loads(text)["error"] == "the metrics of this box are not for your address"
    exit_status, kind, text = _ask(box, source="127.0.0.2")
    assert (exit_status, kind) == (200, metrics.TEXT)
    samples = {sample.name: sample.value for f in read_text(text) for sample in f.samples}
    assert samples["lanjami_metrics_refused_total"] == 1
    assert samples["lanjami_metrics_scrapes_total"] == 1
    exit_status, kind, text = _ask(box, source="127.0.0.2", accept="application/openmetrics-text")
    assert (exit_status, kind) == (200, metrics.OPENMETRICS)
    families = {family.name: family for family in read_openmetrics(text)}
    assert families["lanjami_metrics_scrapes"].samples[0].value == 2
    assert {s.labels["engine"] for s in families["lanjami_dht_values"].samples} == {
        "opendht",
        "python",
    }
    assert box.status()[1]["metrics"] == {"scrapes": 2, "refused": 1}


def test_without_a_setting_nobody_is_told(box: Box) -> None:
    box.running()
    exit_status, _, text = _ask(box)
    assert exit_status == 404
    assert "metrics.networks" in json.loads(text)["error"]
    assert box.status()[1]["metrics"] == {"scrapes": 0, "refused": 1}
