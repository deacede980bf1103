"""What jobctl costs beside the bare engine: pairs of commands measured in turn, in one run.

Absolute times mean little on a shared machine; each figure is the ratio of two things that were
done one after the other. Nothing here is a test: no build fails for being slow.
"""
