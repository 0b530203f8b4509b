"""Versions of what a peer runs on."""

from __future__ import annotations

from importlib import metadata


def of(*packages: str) -> dict[str, str]:
    """Those that are installed, by the name of the distribution."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # under another name, as tensorflow-cpu
    return versions
