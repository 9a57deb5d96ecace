"""GraphML is read back as it was written, whatever the labels."""

import io

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from sparseshift.evaluation.graph_export import graphml

AWKWARD = [
    "A+B",
    "HLA-A",
    "<x>&y",
    "z0",
    "quo\"te's",
    "é→日本",
    "two\nlines\tand a tab",
    " padded ",
]


def read(text: str) -> nx.DiGraph:
    """As a program would, from a file in bytes."""
    return nx.read_graphml(io.BytesIO(text.encode()))


@pytest.fixture
def edges() -> pd.DataFrame:
    n = len(AWKWARD)
    return pd.DataFrame(
        {
            "perturbation": AWKWARD,
            "latent": ["z0", "z1"] * (n // 2),
            "frequency": np.linspace(0.75, 1.0, n),
            "effect": np.random.default_rng(0).normal(size=n),
            "inclusion": 0.9,
            "n_refits": np.arange(n),
            "stable": True,
        }
    )


def test_what_is_read_is_what_was_written(edges: pd.DataFrame) -> None:
    latents = pd.DataFrame({"latent": ["z0", "z1", "z2"], "agreement": [0.99, 0.9, 0.2]})
    graph = read(graphml(edges, latents))
    expected = nx.DiGraph()
    for name in AWKWARD:
        expected.add_node(f"perturbation:{name}", kind="perturbation", label=name)
    for name, agreement in latents.itertuples(index=False):
        expected.add_node(f"latent:{name}", kind="latent", label=name, agreement=agreement)
    for row in edges.to_dict("records"):
        ends = f"perturbation:{row.pop('perturbation')}", f"latent:{row.pop('latent')}"
        expected.add_edge(*ends, **{str(name): value for name, value in row.items()})
    assert dict(graph.nodes(data=True)) == dict(expected.nodes(data=True))
    assert list(graph.edges(data=True)) == list(expected.edges(data=True))
    assert graph.is_directed()
    assert nx.is_bipartite(graph)


def test_text_is_the_same_every_time_and_ascii(edges: pd.DataFrame) -> None:
    assert graphml(edges) == graphml(edges.copy())
    assert graphml(edges).isascii()


def test_a_gene_called_as_a_latent_is_another_node() -> None:
    graph = read(graphml(pd.DataFrame({"perturbation": ["z0"], "latent": ["z0"]})))
    assert list(graph.edges) == [("perturbation:z0", "latent:z0")]


def test_missing_values_are_left_out() -> None:
    frame = pd.DataFrame({"perturbation": ["A", "B"], "latent": "z0", "effect": [np.nan, 2.0]})
    graph = read(graphml(frame))
    assert [data for _, _, data in graph.edges(data=True)] == [{}, {"effect": 2.0}]


def test_characters_that_xml_has_not_are_escaped() -> None:
    frame = pd.DataFrame({"perturbation": ["a\x01b\udc80\r"], "latent": "z0"})
    assert "perturbation:a\\x01b\\udc80\\r" in read(graphml(frame))


def test_no_edges_are_a_graph_too() -> None:
    none = pd.DataFrame({"perturbation": [], "latent": []})
    assert read(graphml(none)).number_of_nodes() == 0
    assert list(read(graphml(none, pd.DataFrame({"latent": ["z0"]})))) == ["latent:z0"]


def test_a_table_survives_csv(edges: pd.DataFrame) -> None:
    text = edges.to_csv(index=False)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text), keep_default_na=False), edges)
