"""What MONAI's trainer lacks: learning rates by depth, progressive unfreezing, metrics in mm, exact resuming."""

from __future__ import annotations

from monai_vggunet.training.batch_mixer import BatchMixer, batch_mixer
from monai_vggunet.training.checkpoints import RunCheckpoint
from monai_vggunet.training.defaults import default_lr, default_workers
from monai_vggunet.training.evaluation import Evaluation
from monai_vggunet.training.evaluation_report import EvaluationReportHandler
from monai_vggunet.training.fitted_norms import with_fitted_norms
from monai_vggunet.training.history import History
from monai_vggunet.training.lr_schedule import LearningRateHandler, make_lr_schedule
from monai_vggunet.training.metrics import (
    LabelDice,
    LabelHausdorff95,
    LabelMapMetric,
    LabelSurfaceDice,
    MetricsLogHandler,
    class_means,
    dice_metric,
    surface_metrics,
)
from monai_vggunet.training.model_files import load_weights, log_weights, save_model
from monai_vggunet.training.param_groups import parameter_groups
from monai_vggunet.training.processes import gathered_rows, share_buffers, validation_sampler
from monai_vggunet.training.progress import TrainingProgressHandler
from monai_vggunet.training.progressive_unfreeze import ProgressiveUnfreezeHandler
from monai_vggunet.training.run_settings import run_settings
from monai_vggunet.training.seeding import EpochSampler, EpochSeedHandler
from monai_vggunet.training.simulated_clicks import SimulatedClicks, largest_error, simulated_clicks
from monai_vggunet.training.tensorboard_folder import tensorboard_folder
from monai_vggunet.training.validation import mean_dice
from monai_vggunet.training.warm_start import initial_network, start_from
from monai_vggunet.training.weight_average import WeightAverageHandler

__all__ = [
    "BatchMixer",
    "EpochSampler",
    "EpochSeedHandler",
    "Evaluation",
    "EvaluationReportHandler",
    "History",
    "LabelDice",
    "LabelHausdorff95",
    "LabelMapMetric",
    "LabelSurfaceDice",
    "LearningRateHandler",
    "MetricsLogHandler",
    "ProgressiveUnfreezeHandler",
    "RunCheckpoint",
    "SimulatedClicks",
    "TrainingProgressHandler",
    "WeightAverageHandler",
    "batch_mixer",
    "class_means",
    "default_lr",
    "default_workers",
    "dice_metric",
    "gathered_rows",
    "initial_network",
    "largest_error",
    "load_weights",
    "log_weights",
    "make_lr_schedule",
    "mean_dice",
    "parameter_groups",
    "run_settings",
    "save_model",
    "share_buffers",
    "simulated_clicks",
    "start_from",
    "surface_metrics",
    "tensorboard_folder",
    "validation_sampler",
    "with_fitted_norms",
]
