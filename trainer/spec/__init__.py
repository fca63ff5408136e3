"""What a run is: the one source of truth for the form, the YAML files, the command line and the docs. Imports without torch."""

from trainer.spec.data import (
    ArithmeticProblems,
    ChoiceVerifier,
    Columns,
    Data,
    ExactVerifier,
    FileProblems,
    MathVerifier,
    NumericVerifier,
    SplitProblems,
    Verifier,
)
from trainer.spec.errors import Problem, SpecError
from trainer.spec.field_list import Choice, FieldInfo, fields
from trainer.spec.networks import Network, Networks
from trainer.spec.operation import Checkpoints, Compute, Evaluation, Record
from trainer.spec.pool import HardFilterWeights, PacedWeights, Pool, UniformWeights, Weighting
from trainer.spec.reader import load, problems_in, to_dict, to_yaml
from trainer.spec.run import RunSpec
from trainer.spec.sampling import Sampling
from trainer.spec.stages import ForwardKL, Objective, Optimiser, PlainGenerate, ReverseKL, Rollouts, Stage, Until

__all__ = [
    "ArithmeticProblems",
    "Checkpoints",
    "Choice",
    "ChoiceVerifier",
    "Columns",
    "Compute",
    "Data",
    "Evaluation",
    "ExactVerifier",
    "FieldInfo",
    "FileProblems",
    "ForwardKL",
    "HardFilterWeights",
    "MathVerifier",
    "Network",
    "Networks",
    "NumericVerifier",
    "Objective",
    "Optimiser",
    "PacedWeights",
    "PlainGenerate",
    "Pool",
    "Problem",
    "Record",
    "ReverseKL",
    "Rollouts",
    "RunSpec",
    "Sampling",
    "SpecError",
    "SplitProblems",
    "Stage",
    "UniformWeights",
    "Until",
    "Verifier",
    "Weighting",
    "fields",
    "load",
    "problems_in",
    "to_dict",
    "to_yaml",
]
