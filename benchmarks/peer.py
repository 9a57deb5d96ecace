"""scvi-tools' SCVI with the sizes of ours: 15 latents, two hidden layers of 128, NB, same totals."""

import logging
import warnings

import anndata
from scvi.model import SCVI

for name in ("lightning", "lightning.pytorch", "scvi"):
    logging.getLogger(name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


def fit(adata: anndata.AnnData, epochs: int) -> SCVI:
    """SCVI trained on all cells, without anything that is not training."""
    SCVI.setup_anndata(adata)
    model = SCVI(
        adata,
        n_hidden=128,
        n_layers=2,
        n_latent=15,
        gene_likelihood="nb",
        use_observed_lib_size=True,
    )
    model.train(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        batch_size=128,
        train_size=1.0,
        validation_size=None,
        check_val_every_n_epoch=None,
        early_stopping=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return model
