"""Becomes a program that ends with its parent:
`python -m lanjami.runtime.tether PARENT keep|give-up PROGRAM …`.

What the kernel is asked for outlives the program's start, as long as its user stays who it is.
"""

import os
import sys

from lanjami.runtime.privileges import give_up
from lanjami.runtime.process import end_with_parent

if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    os.dup2(2, 1)  # one stream, which is read
    if sys.argv[2] == "give-up":
        give_up()
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - the parent chose it
