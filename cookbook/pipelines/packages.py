"""What is installed in this Python: the first module of the pipeline."""

from importlib.metadata import distribution, distributions


def names():
    return sorted({found.metadata["Name"] for found in distributions()})


def files(names):
    return {name: len(distribution(name).files or []) for name in names}


def requirements(names):
    return {name: len(distribution(name).requires or []) for name in names}
