"""ISA-L from the ``pyeclib`` wheel through ctypes, everything prepared outside the timed call."""

import ctypes
from pathlib import Path

import numpy as np


def load():
    import pyeclib

    libraries = sorted((Path(pyeclib.__file__).parents[1] / "pyeclib.libs").glob("libisal*"))
    if not libraries:
        raise RuntimeError("the pyeclib wheel carries no ISA-L")
    return ctypes.CDLL(str(libraries[0]))


class Isal:
    """``ec_encode_data`` with the tables of one matrix."""

    def __init__(self, matrix):
        self.library = load()
        self.outputs, self.inputs = matrix.shape
        self.matrix = np.ascontiguousarray(matrix)
        self.tables = (ctypes.c_ubyte * (32 * matrix.size))()
        self.library.ec_init_tables(self.inputs, self.outputs, ctypes.c_void_p(self.matrix.ctypes.data), self.tables)

    def prepare(self, rows, out):
        """Return a call that makes ``out`` (array of rows) of ``rows`` (arrays), without further set-up."""
        sources = (ctypes.c_void_p * self.inputs)(*[row.ctypes.data for row in rows])
        targets = (ctypes.c_void_p * self.outputs)(*[row.ctypes.data for row in out])
        arguments = (ctypes.c_int(out[0].size), self.inputs, self.outputs, self.tables, sources, targets)
        function = self.library.ec_encode_data
        return lambda: function(*arguments)
