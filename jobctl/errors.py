"""What can go wrong, as types; a class of its own only where somebody catches it differently."""


class JobctlError(Exception):
    """Something failed; the message says what, the offending value and the next step."""

    exit_code = 1


class UsageError(JobctlError):
    """The caller asked for something that can't be asked for."""

    exit_code = 2


class EngineUnreachable(JobctlError):
    """The engine could not be asked, which says nothing about what exists on it."""


class EngineRefused(JobctlError):
    """The engine answered that it can't do what it was asked to."""


class Unwritable(JobctlError):
    """A file can't be written, as on a disk that is full or read-only."""


class ImageMissing(JobctlError):
    """The engine does not have the image that a container was to be made from."""

    def __init__(self, image: str) -> None:
        super().__init__(
            f'the engine has no image "{image}", and no registry gave it one; check the name, or '
            "bring the image with: docker load"
        )
        self.image = image


class ClaimLost(JobctlError):
    """Somebody else holds the port or the container name; another port may be free."""
