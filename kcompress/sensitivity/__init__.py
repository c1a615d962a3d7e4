"""How sensitive each layer of a model is to pruning and to quantization.

`kcompress.sensitivity("model.keras", data="data.npz")`, a call of this package, is `analysis.sensitivity`; `measure`
works on a model in memory.
"""

from kcompress.namesake import callable_as
from kcompress.sensitivity.analysis import sensitivity
from kcompress.sensitivity.effects import Effect, Sensitivity
from kcompress.sensitivity.kept import key_of
from kcompress.sensitivity.measuring import measure

__all__ = ["Effect", "Sensitivity", "key_of", "measure", "sensitivity"]

callable_as(__name__, sensitivity)
