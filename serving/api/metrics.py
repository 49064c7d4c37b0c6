"""What Prometheus reads at `/metrics`: counts and times, never a text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter("icdtune_requests", "Requests answered", ["method", "route", "status"], registry=registry)
        self.seconds = Histogram(
            "icdtune_request_seconds", "Time until the last byte of an answer", ["route"], buckets=_SECONDS, registry=registry
        )
        self.in_flight = Gauge("icdtune_in_flight", "Requests under way", registry=registry)
        self.texts = Counter("icdtune_texts", "Texts coded", registry=registry)
        self.codes = Counter("icdtune_codes", "Codes written at or above the threshold", registry=registry)
        self.candidates = Counter("icdtune_candidates", "Codes written below the threshold", registry=registry)
        self.abstentions = Counter("icdtune_abstentions", "Texts without a code that reached the threshold", registry=registry)
        self.failures = Counter("icdtune_failures", "Texts that were not coded", ["status"], registry=registry)
        self.decisions = Counter("icdtune_decisions", "Decisions of reviewers", ["decision"], registry=registry)
        self.audited = Counter("icdtune_audit_records", "Records written to the audit log", ["kind"], registry=registry)
        self.audit_failures = Counter("icdtune_audit_failures", "Records that could not be written", registry=registry)
        self.audit_sequence = Gauge(
            "icdtune_audit_sequence", "Number of the last record that this process wrote", registry=registry
        )
        self.upstream_up = Gauge("icdtune_upstream_up", "Whether the model server answers", registry=registry)

    def write(self) -> bytes:
        """Return the page that Prometheus reads."""
        return generate_latest(self._registry)
