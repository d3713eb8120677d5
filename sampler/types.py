"""Array aliases of the sampler. Axis suffixes: n positions, k candidates, v vocabulary, e slack levels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
KeyArray = NDArray[Any]
"""Per-position noise keys [n]; the dtype belongs to the scheme that made them."""
