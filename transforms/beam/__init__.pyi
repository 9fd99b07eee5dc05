from .faults import carried_error as carried_error
from .read_units import ReadWorkUnits as ReadWorkUnits
from .shards import ShardPlan as ShardPlan
from .shards import WriteShards as WriteShards
from .simulate import ClickSimulationHandler as ClickSimulationHandler
from .simulate import KnownOutcomes as KnownOutcomes
from .simulate import SimulateClicks as SimulateClicks
