"""Names of rows: made once for as long as a row is there."""

from __future__ import annotations

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.table import RowKey, Values
from otel_netagent.outputs.row_forms import RowForms
from tests.outputs.samples import DROPS, NODE, make_entity, make_snapshot, make_table


def test_name_is_made_once_for_each_row_while_it_lasts() -> None:
    made: list[str] = []

    def make(labels: dict[str, str]) -> str:
        made.append(",".join(labels.values()))
        return made[-1]

    forms = RowForms(NODE, make)

    def of(snapshot: Snapshot) -> list[list[str]]:
        found = [forms.of(table, snapshot.entities) for table in snapshot.tables]
        forms.forget_unused()
        return found

    web, db = make_entity(1, netns_cookie=11, pod="web"), make_entity(2, netns_cookie=12, pod="db")
    rows: dict[RowKey, Values] = {(11, ()): (0, 0), (12, ()): (0, 0)}
    tables = (make_table(rows), make_table(rows, probe="udp"), make_table({(11, ("X",)): (0,)}, DROPS))
    both = make_snapshot(*tables, entities=(web, db))
    names = ["shop,ns1,node-1,web", "shop,ns2,node-1,db"]
    expected = [names, names, ["shop,ns1,node-1,web,X"]]
    assert of(both) == expected
    assert of(both) == expected
    assert len(made) == 3

    renamed = make_entity(1, netns_cookie=11, pod="web-7")
    assert of(make_snapshot(make_table({(11, ()): (0, 0)}), entities=(renamed,))) == [["shop,ns1,node-1,web-7"]]
    assert len(made) == 4

    # What was gone in between has been forgotten.
    assert of(both) == expected
    assert len(made) == 7
