"""The definition of a run, from which form, YAML, command line, API and docs are derived.

Imports without torch.
"""

from trainer.spec.confidence import Confidence, NoConfidence, StatedConfidence
from trainer.spec.controllers.fixed import FixedControl
from trainer.spec.data import (
    ArithmeticProblems,
    Columns,
    Data,
    FileProblems,
    SplitProblems,
)
from trainer.spec.errors import SpecError, SpecIssue
from trainer.spec.fields.field_list import FieldChoice, FieldInfo, fields
from trainer.spec.filters.calibrated import CalibratedFilter
from trainer.spec.filters.verifier import VerifierFilter
from trainer.spec.generators.plain import PlainGenerate
from trainer.spec.mechanisms import Mechanism
from trainer.spec.networks import (
    Context,
    EndpointTeacher,
    LowRankAdapter,
    ModelTeacher,
    Network,
    Networks,
    NoAdapter,
    PlainContext,
    PrivilegedContext,
    SelfTeacher,
    ServedTeacher,
    Specialist,
    Student,
    Teacher,
    TextTeacher,
)
from trainer.spec.objectives.adaptive_kl import AdaptiveKL
from trainer.spec.objectives.cross_entropy import CrossEntropy
from trainer.spec.objectives.divergence import AllLogits, Clip, Divergence, NoClip, TopLogits
from trainer.spec.objectives.forward_kl import ForwardKL
from trainer.spec.objectives.grpo import GRPO
from trainer.spec.objectives.jsd import JSD
from trainer.spec.objectives.objective import Need, Objective
from trainer.spec.objectives.policy_gradient import PolicyGradient
from trainer.spec.objectives.reverse_kl import ReverseKL
from trainer.spec.objectives.skewed_kl import SkewedKL
from trainer.spec.operation import (
    Checkpoints,
    Compute,
    Evaluation,
    InProcessSampler,
    Record,
    VllmSampler,
)
from trainer.spec.pool import Pool
from trainer.spec.reader import issues_in, load, to_dict, to_yaml
from trainer.spec.replays.none import NoReplay
from trainer.spec.rollouts import Rollouts
from trainer.spec.run import RunSpec
from trainer.spec.sampling import Sampling
from trainer.spec.served_teacher import HiddenStates, SampledLogprobs, TopLogprobs
from trainer.spec.stages import Optimiser, Stage, Until
from trainer.spec.token_scores import TOKEN_SCORES
from trainer.spec.tokens import AllTokens, SelectedTokens, Tokens
from trainer.spec.verifiers.choice import ChoiceVerifier
from trainer.spec.verifiers.exact import ExactVerifier
from trainer.spec.verifiers.math import MathVerifier
from trainer.spec.verifiers.numeric import NumericVerifier
from trainer.spec.verifiers.verifier import Verifier
from trainer.spec.weightings.hard_filter import HardFilterWeights
from trainer.spec.weightings.paced import PacedWeights
from trainer.spec.weightings.uniform import UniformWeights
from trainer.spec.weightings.weighting import Weighting

__all__ = [
    "GRPO",
    "JSD",
    "TOKEN_SCORES",
    "AdaptiveKL",
    "AllLogits",
    "AllTokens",
    "ArithmeticProblems",
    "CalibratedFilter",
    "Checkpoints",
    "ChoiceVerifier",
    "Clip",
    "Columns",
    "Compute",
    "Confidence",
    "Context",
    "CrossEntropy",
    "Data",
    "Divergence",
    "EndpointTeacher",
    "Evaluation",
    "ExactVerifier",
    "FieldChoice",
    "FieldInfo",
    "FileProblems",
    "FixedControl",
    "ForwardKL",
    "HardFilterWeights",
    "HiddenStates",
    "InProcessSampler",
    "LowRankAdapter",
    "MathVerifier",
    "Mechanism",
    "ModelTeacher",
    "Need",
    "Network",
    "Networks",
    "NoAdapter",
    "NoClip",
    "NoConfidence",
    "NoReplay",
    "NumericVerifier",
    "Objective",
    "Optimiser",
    "PacedWeights",
    "PlainContext",
    "PlainGenerate",
    "PolicyGradient",
    "Pool",
    "PrivilegedContext",
    "Record",
    "ReverseKL",
    "Rollouts",
    "RunSpec",
    "SampledLogprobs",
    "Sampling",
    "SelectedTokens",
    "SelfTeacher",
    "ServedTeacher",
    "SkewedKL",
    "SpecError",
    "SpecIssue",
    "Specialist",
    "SplitProblems",
    "Stage",
    "StatedConfidence",
    "Student",
    "Teacher",
    "TextTeacher",
    "Tokens",
    "TopLogits",
    "TopLogprobs",
    "UniformWeights",
    "Until",
    "Verifier",
    "VerifierFilter",
    "VllmSampler",
    "Weighting",
    "fields",
    "issues_in",
    "load",
    "to_dict",
    "to_yaml",
]
