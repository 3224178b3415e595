"""What the user can mend. Imports nothing, so that it can be said before torch is there."""


class Fault(ValueError):
    """Something that the user can mend: its message is one line that says how."""


def first_line(error: BaseException) -> str:
    """What an error says, shortened to one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
