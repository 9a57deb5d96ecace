"""A graph from perturbations to latents as GraphML, which Cytoscape, Gephi, igraph and networkx read."""

import re
from typing import Any

import pandas as pd

# what XML 1.0 has no way to write, and the carriage return, which its readers turn into a line feed
_UNWRITABLE = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def graphml(edges: pd.DataFrame, latents: pd.DataFrame | None = None) -> str:
    r"""The text of a GraphML file (graphml.graphdrawing.org): edges from perturbations to latents.

    A node's id is `perturbation:NAME` or `latent:NAME`, since a gene may be called as a latent is; its
    attributes are kind and label (the name). Values that are missing (NaN) are left out. Characters that
    XML cannot hold are written as Python escapes them, such as `\x01`.

    Args:
        edges: a row an edge, with perturbation, latent and any further columns, which become attributes
            of the edge: frequency, effect, inclusion ... All rows are written: choose the stable ones.
        latents: a row a latent, with latent and any further columns, attributes of its node; latents
            without an edge are nodes too. None: the latents of the edges.
    """
    import networkx as nx

    graph = nx.DiGraph()
    for name in dict.fromkeys(edges["perturbation"]):
        graph.add_node(_id("perturbation", name), kind="perturbation", label=_text(name))
    if latents is None:
        latents = edges[["latent"]].drop_duplicates()
    for row in latents.to_dict("records"):
        name = row.pop("latent")
        graph.add_node(_id("latent", name), kind="latent", label=_text(name), **_attributes(row))
    for row in edges.to_dict("records"):
        ends = [_id(kind, row.pop(kind)) for kind in ("perturbation", "latent")]
        graph.add_edge(*ends, **_attributes(row))
    return "\n".join(nx.generate_graphml(graph)) + "\n"


def _id(kind: str, name: object) -> str:
    return f"{kind}:{_text(name)}"


def _attributes(row: dict[Any, Any]) -> dict[str, Any]:
    values = {str(key): value for key, value in row.items() if pd.notna(value)}
    return {key: _text(v) if isinstance(v, str) else v for key, v in values.items()}


def _text(name: object) -> str:
    return _UNWRITABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(name))
