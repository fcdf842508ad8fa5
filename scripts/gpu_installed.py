"""What of this package's needs a machine has, in which versions, and which GPU: `gpu_check.sh` begins with it.

python scripts/gpu_installed.py cuda
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version

NEEDED = (
    "numpy", "sympy", "pint", "scipy", "h5py", "networkx", "sklearn", "joblib", "matplotlib", "elephant", "neo", "quantities",
    "typer", "rich", "torch", "pytest", "pytest_timeout", "brian2",
)  # fmt: skip
ON_CUDA = ("cuda.bindings.nvrtc",)
PEERS = ("jax", "snntorch", "norse", "spikingjelly", "spyx")


def lines(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each module with its version, or with why it can't be imported."""
    distributions = packages_distributions()
    for name in names:
        try:
            import_module(name)
        except Exception as error:
            yield name, f"missing ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
            continue
        try:
            yield name, version(distributions[name.partition(".")[0]][0])
        except (KeyError, PackageNotFoundError):
            yield name, "version unknown"


def main(device: str) -> int:
    """Exit code 1 where something that is needed is missing."""
    on_cuda = device.partition(":")[0] == "cuda"
    print(f"Python {platform.python_version()}")
    missing = []
    for name, said in lines((*NEEDED, *(ON_CUDA if on_cuda else ()))):
        print(f"{name} {said}")
        if said.startswith("missing"):
            missing.append(name)
    for name, said in lines(PEERS):
        print(f"{name} {said} (a peer of the benchmarks)")
    if on_cuda and "torch" not in missing:
        missing += _gpu(device)
    print(f"needed and missing: {', '.join(missing)}; docs/gpu.md says how to carry wheels" if missing else "all there")
    return bool(missing)


def _gpu(device: str) -> list[str]:
    import torch

    from backends.native.devices import lacking

    print(f"torch is built for CUDA {torch.version.cuda}")
    if not torch.cuda.is_available():
        return ["a CUDA device that torch sees"]
    free, total = torch.cuda.mem_get_info(device)
    print(f"{torch.cuda.get_device_name(device)}, {total / 2**30:.0f} GiB, {free / 2**30:.0f} GiB free")
    why = lacking(device)  # tests are skipped there
    return [f"something for native's kernels ({why})"] if why else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda"))
