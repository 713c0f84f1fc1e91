"""`/esmd/v1/status`, `/livez`, `/readyz` and `/metrics`: what programs and Prometheus get."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_metrics

from esmd.api import metrics
from esmd.observe import metric_names
from esmd.status.model import Totals

from support.status_lab import FixedStatus, api, snapshot


async def test_the_whole_status_is_json_that_nobody_keeps():
    async with api() as client:
        answer = await client.get("/esmd/v1/status")
        assert answer.headers["Cache-Control"] == "no-store"
        value = await answer.json()
    assert [each["name"] for each in value["mappings"]] == ["orders", "payments", "reports", "archive"]
    assert value["mappings"][1]["shards"][1]["blocked"]["attempts"] == 7
    assert value["daemon"]["version"] == "0.1.0"


@pytest.mark.parametrize("name", ["payments", snapshot().mappings[1].uuid])
async def test_one_mapping_by_name_or_uuid_with_its_function_and_its_failures(name):
    async with api() as client:
        value = await (await client.get(f"/esmd/v1/status/{name}")).json()
    assert value["mapping"]["name"] == "payments"
    assert value["function"]["name"] == "charge"
    assert [each["event"] for each in value["failures"]] == ["batch.failed"]


async def test_an_unknown_mapping_is_not_found_and_the_known_ones_are_named():
    async with api() as client:
        answer = await client.get("/esmd/v1/status/nothing")
        assert answer.status == 404
        assert await answer.json() == {
            "error": "NotFound",
            "message": "there is no mapping 'nothing'",
            "hint": "there are: orders, payments, reports, archive",
        }


async def test_alive_is_whoever_answers():
    async with api() as client:
        assert (await client.get("/livez")).status == 200


@pytest.mark.parametrize(
    ("query", "reasons"), [("", {"a": "it is Enabling"}), ("?strict=true", {"a": "it is Enabling", "b": "no queue"})]
)
async def test_not_ready_says_why(query, reasons):
    status = FixedStatus(snapshot(), {"a": "it is Enabling"}, {"b": "no queue"})
    async with api(status=status) as client:
        answer = await client.get(f"/readyz{query}")
        assert answer.status == 503
        assert await answer.json() == {"ready": False, "reasons": reasons}


async def test_ready():
    async with api() as client:
        answer = await client.get("/readyz")
        assert answer.status == 200
        assert await answer.json() == {"ready": True, "reasons": {}}


async def test_where_a_token_is_needed_a_probe_without_one_is_told_yes_or_no_alone():
    async with api(status=FixedStatus(snapshot(), {"a": "it is Enabling"}), token="secret") as client:
        answer = await client.get("/readyz")
        assert answer.status == 503
        assert await answer.json() == {"ready": False}


@pytest.mark.parametrize(
    ("accept", "parse"),
    [
        ("text/plain;version=0.0.4", plain_metrics),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", open_metrics),
    ],
)
async def test_metrics_are_what_prometheus_reads(accept, parse):
    async with api() as client:
        answer = await client.get("/metrics", headers={"Accept": accept})
        assert answer.headers["Content-Type"].startswith(accept.partition(";")[0])
        families = {family.name: family for family in parse(await answer.text())}
    by_name = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert by_name["esmd_polled_event_count_total", "orders"] == 120_345
    assert by_name["esmd_queue_messages_visible", "orders"] == 1_532
    assert ("esmd_queue_messages_visible", "reports") not in by_name
    assert by_name["esmd_iterator_age_milliseconds", "payments"] == 91_200
    assert by_name["esmd_blocked_shards", "payments"] == 1
    assert by_name["esmd_on_failure_destination_delivered_event_count_total", "payments"] == 3
    assert ("esmd_deleted_event_count_total", "payments") not in by_name
    assert by_name["esmd_mapping_state", "archive", "Disabled"] == 1
    assert by_name["esmd_mapping_available", "reports"] == 0
    assert by_name["esmd_function_invocations_total", "process"] == 12_050
    assert by_name["esmd_function_duration_milliseconds_sum", "process"] == 361_500
    assert by_name["esmd_build_info", "0.1.0"] == 1
    known = {metric.name for metric in metric_names.ALL}
    assert families.keys() == known, "every metric that is defined is served, and no other"
    assert all(family.documentation for family in families.values())


def test_names_that_somebody_else_chose_are_escaped():
    value = snapshot()
    odd = 'a"b\\c\nd{e}'
    mapping = replace(value.mappings[0], name=odd, totals=Totals(received=5))
    text = metrics.exposition(replace(value, mappings=(mapping,))).decode()
    samples = [s for family in plain_metrics(text) for s in family.samples if s.labels.get("mapping") == odd]
    assert {s.value for s in samples if s.name == "esmd_polled_event_count_total"} == {5}


def test_a_metric_without_a_definition_is_a_defect(monkeypatch):
    monkeypatch.setattr(metric_names, "ALL", metric_names.ALL[1:])
    with pytest.raises(LookupError, match="esmd_polled_event_count"):
        metrics.exposition(snapshot())


def test_the_page_of_metrics_is_fresh():
    assert metric_names.PAGE.read_text(encoding="utf-8") == metric_names.page(), "run make generated"
