"""An inner ear in few lines: sounds to the spikes of 700 fibres, which is how SHD's recordings are laid out.

Basilar membrane: gammatone filters of the fourth order (Patterson and others 1992, Auditory physiology and perception, p. 429), their frequencies evenly apart in equivalent
rectangular bandwidths (Glasberg & Moore 1990, Hear Res 47:103). Hair cells: the envelope of each, compressed. Behind them leaky integrate-and-fire cells, all alike, with a
refractory period. Layout: Cramer, Stradmann, Schemmel & Zenke (2022), IEEE TNNLS 33:2744, whose model of the ear is a larger one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import fft, ifft

from neuro.protocols import Array

FIBRES = 700
STEP = 1e-3  # seconds: of the envelopes, and of the cells behind them
LOWEST, HIGHEST = 60.0, 0.45  # Hz; share of the sampling rate
LOUD = 0.01  # envelope that drives a cell just to its threshold, relative to a sound whose peak is 1
COMPRESSION = 0.3  # exponent
TAU, REFRACTORY = 10e-3, 2  # seconds; steps
TAIL = 20  # steps after a sound, in which filters and cells fall silent
ROUND = 128  # steps: sounds are filled up to a multiple of it
TOGETHER = 32  # sounds that are computed at once


def centres(rate: float, channels: int = FIBRES) -> Array:
    """Hz [channel], evenly apart on the scale of equivalent rectangular bandwidths: 21.4 log10(1 + 0.00437 f)."""
    first, last = 21.4 * np.log10(1 + 0.00437 * np.array([LOWEST, HIGHEST * rate]))
    return np.asarray((10 ** (np.linspace(first, last, channels) / 21.4) - 1) / 0.00437)


def fibres(sounds: Sequence[Array], rate: float, channels: int = FIBRES) -> list[tuple[Array, Array]]:
    """Times, seconds, and channels [event] of the spikes of each sound [sample], whose peak is brought to 1; the lowest frequency is channel 0. rate: Hz."""
    found: dict[int, tuple[Array, Array]] = {}
    lasts = np.array([round(len(sound) / rate / STEP) + TAIL for sound in sounds])
    wholes = -(-lasts // ROUND) * ROUND  # what a sound becomes doesn't depend on the others
    for steps in np.unique(wholes):
        alike = np.flatnonzero(wholes == steps)
        for chosen in np.split(alike, range(TOGETHER, len(alike), TOGETHER)):
            spikes = _fired(envelopes([sounds[k] for k in chosen], rate, channels, int(steps)))
            for k, raster in zip(chosen, spikes, strict=True):
                step, channel = np.nonzero(raster[: lasts[k]])
                found[int(k)] = (step * STEP, channel.astype(np.uint16))
    return [found[k] for k in range(len(sounds))]


def envelopes(sounds: Sequence[Array], rate: float, channels: int, steps: int) -> Array:
    """What comes out of each filter, without its carrier: [sound, step, channel]. steps: as many as the longest sound has, at least.

    A band of a sound's spectrum, as wide as steps can tell apart (1/STEP), is weighted by the filter, brought to frequency 0 and transformed back.
    """
    size = round(steps * STEP * rate)
    f = centres(rate, channels)[:, None]
    bins = np.round(f * steps * STEP).astype(int) + np.round(np.fft.fftfreq(steps) * steps).astype(int)
    width = 1.019 * 24.7 * (1 + 0.00437 * f)
    response = (1 + 1j * (bins / (steps * STEP) - f) / width) ** -4
    inside = np.where((bins > 0) & (bins < size // 2), response, 0).astype(np.complex64)
    found = np.empty((len(sounds), steps, channels), np.float32)
    for sound, out in zip(sounds, found, strict=True):
        wave = np.asarray(sound, np.float64)  # the absolute value of the least int16 is none
        spectrum = fft(np.asarray(wave / max(np.abs(wave).max(initial=0.0), 1e-12), np.float32), size)
        out[:] = np.abs(ifft(spectrum[bins % size] * inside, axis=1)).T * (2 * steps / size)
    return found


def _fired(envelope: Array) -> Array:
    """bool [sound, step, channel]: cells with the potential v -> v + (I - v) STEP/TAU, a spike and v = 0 where v > 1."""
    current = (envelope / np.float32(LOUD)) ** np.float32(COMPRESSION)
    v, rest = np.zeros_like(current[:, 0]), np.zeros(current[:, 0].shape, np.int8)
    spikes = np.empty(current.shape, bool)
    leak = np.float32(-np.expm1(-STEP / TAU))
    for k in range(current.shape[1]):
        v += (current[:, k] - v) * leak
        v[rest > 0] = 0
        spikes[:, k] = fired = v > 1
        v[fired] = 0
        rest = np.where(fired, REFRACTORY, np.maximum(rest - 1, 0)).astype(np.int8)
    return spikes
