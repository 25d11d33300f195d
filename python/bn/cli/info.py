"""`bn info`: show versions, OpenMP, threads, CPU features and BLAS."""

from __future__ import annotations

import argparse
import platform
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import bn
from bn.table import aligned

SUMMARY = "show versions, OpenMP, threads, CPU features and NumPy's BLAS"
DESCRIPTION = "Show what this installation of bn runs on."
# OpenBLAS's names for CPUs with AVX-512.
AVX512_CORES = {"skylakex", "cooperlake", "sapphirerapids"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Do nothing, since this command has no options."""


def run(args: argparse.Namespace) -> int:
    """Print one fact in each line, and a hint if OpenBLAS misses the CPU's features."""
    config = bn.show_config()
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    facts = [
        ("bn", config["version"]),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("NumPy", np.__version__),
        ("OpenMP", "yes" if config["openmp"] else "no: bn runs on one thread"),
        ("threads", str(config["threads"])),
        ("CPU features", config["isa"]),
        *(("BLAS", describe_blas(pool)) for pool in blas),
    ]
    print(aligned(facts, left=2))
    for pool in blas:
        if old_core(config["isa"], pool):
            print(
                f"\nOpenBLAS takes this CPU for an older one ({pool['architecture']}): "
                "OPENBLAS_CORETYPE=SKYLAKEX in the environment can make matrix products faster."
            )
    return 0


def describe_blas(pool: dict[str, Any]) -> str:
    """Describe an entry of threadpoolctl's list in one line.

    Examples
    --------
    >>> describe_blas({"internal_api": "mkl", "version": "2025.0", "num_threads": 2})
    'mkl 2025.0, 2 threads'
    """
    words = f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
    return f"{words}, built for {pool['architecture']}" if pool.get("architecture") else words


def old_core(isa: str, pool: dict[str, Any]) -> bool:
    """Whether OpenBLAS runs code without AVX-512 on a CPU that has it.

    Examples
    --------
    >>> old_core("avx512", {"internal_api": "openblas", "architecture": "Haswell"})
    True
    """
    architecture = str(pool.get("architecture", "")).lower()
    openblas = pool["internal_api"] == "openblas"
    return openblas and isa.startswith("avx512") and architecture not in AVX512_CORES
