"""The models as the public code of Lopez et al. (2023) trains them, known faults included.

They reproduce its tables; use the presets without `paper.` for anything else. Where a setting is a
fault, the comment beside it says what is wrong with it.
"""

from dataclasses import replace

from sparseshift.models.options import Options
from sparseshift.presets.preset import Preset
from sparseshift.training.config import TrainingConfig

_OPTIONS = Options(
    dropout=0.1,
    effect_start=1.0,
    initial_logit=5.0,
    # fault: the dispersion of a rare gene is further away than training goes
    dispersion_start="one",
    # the screens have no control: none is anchored
    anchor_control=False,
)
_TRAINING = TrainingConfig(
    max_epochs=300,
    batch_size=128,
    learning_rate=1e-3,
    schedule="constant",
    logit_rate=1.0,
    kl_warmup=50 / 300,
    # fault: far above the root of the second moment of most weights, so that the step depends on
    # the scale of the loss; masks of the models with a mean loss hardly move
    adam_eps=0.01,
    weight_decay=1e-6,
    patience=45,
    n_evaluations=300,
    gradient_clip=None,
)
_FROZEN = replace(_TRAINING, freeze_graph=True)
_SPARSE = replace(
    _OPTIONS,
    # fault: every combination is a label of its own, so none can be predicted
    shift="table",
    mask="bernoulli",
    # fault: the mask belongs to the perturbation, not to the cell
    mask_draw="per_cell",
)

VAE = Preset(_OPTIONS, _TRAINING)
BETA_VAE = Preset(replace(_OPTIONS, beta=10.0), _TRAINING)
IVAE = Preset(
    # fault: the mask of ones is left stochastic, with inclusion probability sigmoid(5) = .993
    _SPARSE,
    _FROZEN,
    adaptation="paper",
)
SVAE = Preset(
    # fault: the penalty is a mean over the table added to a mean over cells: no fixed price an edge
    replace(_SPARSE, mask_prior="l1_mean_loss", alpha=10.0),
    _FROZEN,
    adaptation="paper",
)
SVAE_PLUS = Preset(
    replace(_SPARSE, mask_prior="beta_map"),
    # fault: this model's loss alone is multiplied by the number of cells
    replace(_FROZEN, objective_scale="screen"),
    adaptation="paper",
)
