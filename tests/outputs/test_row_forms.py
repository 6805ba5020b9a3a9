"""Names of rows: made once for as long as a row is there."""

from __future__ import annotations

from otel_netagent.outputs.row_forms import RowNames
from tests.outputs.samples import DROPS, NODE, make_entity, make_snapshot, make_table


def test_name_is_made_once_for_each_row_while_it_lasts() -> None:
    made: list[str] = []

    def make(labels: dict[str, str]) -> str:
        made.append(",".join(labels.values()))
        return made[-1]

    names = RowNames(NODE, make)
    web, db = make_entity(1, pod="web"), make_entity(2, pod="db")
    tables = (make_table({(1, ()): (0, 0), (2, ()): (0, 0)}), make_table({(1, ("X",)): (0,)}, DROPS))
    both = make_snapshot(*tables, entities=(web, db))
    expected = [["shop,ns1,node-1,web", "shop,ns2,node-1,db"], ["shop,ns1,node-1,web,X"]]
    assert names.of(both) == (expected, [])
    assert names.of(both) == (expected, [])
    assert len(made) == 3

    named = make_entity(1, pod="web-7")
    assert names.of(make_snapshot(make_table({(1, ()): (0, 0)}), entities=(named,))) == (
        [["shop,ns1,node-1,web-7"]],
        [],
    )
    assert len(made) == 4

    # What was gone in between has been forgotten.
    assert names.of(both) == (expected, [])
    assert len(made) == 7
