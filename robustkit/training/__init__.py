"""Training on device-resident data, with checkpoints that resume exactly; accuracy."""

from robustkit.prediction import predict
from robustkit.training.adaptation import adapt_batch_norm
from robustkit.training.augmentation import crop_and_flip
from robustkit.training.evaluation import Accuracy, evaluate
from robustkit.training.loop import TrainingResult, train
from robustkit.training.preparation import obtain, train_once
from robustkit.training.recipes import hold_me_tight, prime
from robustkit.training.schedules import learning_rate_at
from robustkit.training.settings import Adversarial

__all__ = [
    "Accuracy",
    "Adversarial",
    "TrainingResult",
    "adapt_batch_norm",
    "crop_and_flip",
    "evaluate",
    "hold_me_tight",
    "learning_rate_at",
    "obtain",
    "predict",
    "prime",
    "train",
    "train_once",
]
