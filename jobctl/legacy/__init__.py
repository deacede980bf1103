"""The older scripts' ``config.ini`` as a ``config.yaml``: nothing is lost, nothing is guessed.

What the new file can't say stands in it as a comment, and a note says what to do about it.
Reading the one file and writing the other is for the command line.
"""

from jobctl.legacy.conversion import Imported, convert

__all__ = ["Imported", "convert"]
