from .mllm import MODEL_POLICIES as MODEL_POLICIES
from .mllm import ModelPolicyOptions as ModelPolicyOptions
from .model_policy import Conversation as Conversation
from .registry import BASELINES as BASELINES
from .registry import POLICIES as POLICIES
from .registry import PolicyOptions as PolicyOptions
from .registry import check_policy_name as check_policy_name
