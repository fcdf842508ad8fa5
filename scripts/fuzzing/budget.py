"""What `make test` runs of random networks: fixed seeds, every oracle on some of them."""

from __future__ import annotations

SEEDS: dict[str, tuple[int, ...]] = {
    "forward": tuple(range(60)),
    "gradients": tuple(range(100, 115)),
    "metamorphic": tuple(range(200, 215)),
    "life": tuple(range(300, 330, 5)),
}
