"""Images: what they are made from (``source``), with what of this host (``site``), and when.

``build`` decides and asks the engine; ``debian`` makes the base image where there is no registry;
``generated`` writes the Dockerfile of an image that is but a list of packages.
What the images are for is left to those who ask, and so is showing progress.
"""

from jobctl.images.build import ListedImage, ensure_image, listing
from jobctl.images.generated import generated
from jobctl.images.source import Source, known_sources

__all__ = ["ListedImage", "Source", "ensure_image", "generated", "known_sources", "listing"]
