"""Numbers with their nouns, for the texts that reports print."""


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Such as `1 clip` or `1,200 clips`; `nouns` is the plural where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def duration(hours: float) -> str:
    """Hours, or minutes below one hour."""
    return f"{hours:.2f} h" if hours >= 1.0 else f"{60.0 * hours:.1f} min"
