"""Sounds as numbers that networks hear: energies of mel bands, frame by frame."""

from __future__ import annotations

import numpy as np

from neuro.protocols import Array

FLOOR = 1e-4  # of the energies' logarithm, relative to a signal whose peak is 1


def mel_filters(rate: float, size: int, channels: int, lowest: float, highest: float) -> Array:
    """Triangular bands [channel, frequency] over the frequencies of a transform of `size` samples, their centres equally far apart in mel
    (2595 log10(1 + f/700)), each with the sum 1. Source: O'Shaughnessy (1987), Speech communication, p. 150."""

    def mel(f: Array) -> Array:
        return np.asarray(2595 * np.log10(1 + f / 700))

    edges = np.linspace(mel(np.array(lowest)), mel(np.array(highest)), channels + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    found = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12))


def log_mel(
    sound: Array, rate: float, channels: int = 40, *, window: float = 25e-3, hop: float = 10e-3, lowest: float = 20.0, highest: float = 4000.0
) -> Array:  # fmt: skip
    """Logarithm of the energies [frame, channel] of a sound [sample] whose peak is brought to 1. rate: Hz. window, hop: seconds.

    A frame begins every `hop`, the last ones are filled up with silence; each is weighted by a Hann window.
    """
    signal = np.asarray(sound, np.float64)
    signal = signal / max(np.abs(signal).max(initial=0.0), 1e-12)
    size, step = round(window * rate), round(hop * rate)
    frames = max(1, -(-len(signal) // step))
    padded = np.pad(signal, (0, (frames - 1) * step + size - len(signal)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::step][:frames] * np.hanning(size + 2)[1:-1]
    points = 1 << (size - 1).bit_length()
    energy = np.abs(np.fft.rfft(pieces, points, axis=1)) ** 2
    return np.log(energy @ mel_filters(rate, points, channels, lowest, highest).T + FLOOR)
