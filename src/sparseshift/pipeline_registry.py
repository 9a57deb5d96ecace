"""The pipelines by name; explicit, so that `--pipelines NAME` finds composed ones too."""

from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Name to pipeline, for the screens, models and seeds of the current configuration."""
    from sparseshift.pipelines import (
        data_engineering,
        modelling,
        refits,
        reporting,
        simulation,
        transfer,
    )
    from sparseshift.pipelines.plan import current_plan

    plan = current_plan()
    parts = {
        "data_engineering": data_engineering.create_pipeline(plan),
        "modelling": modelling.create_pipeline(plan),
        "transfer": transfer.create_pipeline(plan),
        "refits": refits.create_pipeline(plan),
        "reporting": reporting.create_pipeline(plan),
    }
    if plan.study is not None:  # an environment with a study is about that study
        study = simulation.create_pipeline(plan)
        return {**parts, "simulation": study, "__default__": study}
    return {**parts, "__default__": sum(parts.values(), Pipeline([]))}
