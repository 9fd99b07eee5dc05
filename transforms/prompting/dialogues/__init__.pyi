from .protocol import Dialogue as Dialogue
from .protocol import Offer as Offer
from .registry import DEFAULT_DIALOGUE as DEFAULT_DIALOGUE
from .registry import DIALOGUES as DIALOGUES
from .registry import load_dialogue as load_dialogue
from .registry import prompt_of as prompt_of
from .segagent import SegAgent as SegAgent
