"""Keys for metrics, there and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flip_lab.exchange.mlflow_store import clean_name
from flip_lab.exchange.names import PHASES, SCOPES, empty_series, keys_of
from flip_lab.exchange.records import Series

IDENTITIES = st.tuples(st.sampled_from(PHASES), st.sampled_from(SCOPES), st.text())


@given(identity=IDENTITIES)
def test_a_key_tells_phase_scope_and_name(identity: tuple[str, str, str]) -> None:
    """A key that was not changed for another tool is taken apart to what it was made of."""
    phase, scope, name = identity
    (key,) = keys_of([Series(phase=phase, scope=scope, name=name)])
    assert empty_series(key).identity == identity


@given(identities=st.lists(IDENTITIES, unique=True))
def test_no_two_metrics_share_a_key(identities: list[tuple[str, str, str]]) -> None:
    """Also where a tool takes so few characters that names become the same."""
    series = [Series(phase=p, scope=s, name=n) for p, s, n in identities]
    assert len(keys_of(series, clean=clean_name)) == len(series)


def test_a_foreign_key_keeps_its_name() -> None:
    """Somebody else's metric is central, and of the training if its name says so."""
    assert empty_series("train/loss").identity == ("train", "central", "train/loss")
    assert empty_series("val.acc").identity == ("evaluate", "central", "val.acc")
    assert empty_series("constrained").identity == ("evaluate", "central", "constrained")
