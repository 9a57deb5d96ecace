from kedro.pipeline import Node, Pipeline

from mini.nodes import compare, draw, fit, score, split_cells, stop_here

FITS = [("vae", 0), ("vae", 1), ("svae_plus", 0)]


def one_fit(model: str, seed: int) -> Pipeline:
    nodes = [
        Node(
            fit,
            ["cells", f"params:models.{model}", "params:what"],
            ["history", "weights"],
            name="fit",
        ),
        Node(draw, "history", "curves", name="draw"),
        Node(score, "weights", "metrics", name="score"),
    ]
    return Pipeline(
        nodes,
        namespace=f"papalexi.held_out.{model}.seed_{seed}",
        inputs={"cells"},
        parameters={f"params:models.{model}", "params:what"},
    )


def register_pipelines() -> dict[str, Pipeline]:
    data = Pipeline(
        [Node(split_cells, ["screen", "params:split.fraction"], "cells", name="split")]
    )
    modelling = sum((one_fit(*names) for names in FITS), Pipeline([]))
    tables = [f"papalexi.held_out.{model}.seed_{seed}.metrics" for model, seed in FITS]
    reporting = Pipeline([Node(compare, tables, ["comparison", "report"], name="compare")])
    faults = Pipeline([Node(stop_here, "params:what", None, name="stop")])
    everything = data + modelling + reporting
    return {"data": data, "modelling": modelling, "faults": faults, "__default__": everything}
