from sparseshift.plots.metric_names import metric_name, ordered_metrics


def test_particles_unit_and_direction_are_in_the_heading() -> None:
    assert metric_name("inll_macro_k5000").heading == (
        "I-NLL, mean of perturbations, 5000 particles (nats a cell; lower is better)"
    )
    assert metric_name("ate_pearson_r").axis == "Pearson r over genes   higher is better →"
    assert metric_name("inll_micro_k100").axis == "nats a cell   ← lower is better"
    assert metric_name("n_edges").heading == "edges (count)"


def test_an_unknown_metric_has_no_direction() -> None:
    unknown = metric_name("my_new_score")
    assert (unknown.heading, unknown.axis) == ("my new score", "")


def test_transfer_comes_before_training() -> None:
    names = ["mine", "n_edges", "validation_negative_elbo", "ate_pearson_r", "inll_macro_k100"]
    assert ordered_metrics(names) == [
        "inll_macro_k100",
        "ate_pearson_r",
        "validation_negative_elbo",
        "n_edges",
        "mine",
    ]
