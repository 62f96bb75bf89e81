"""Label Studio's run lengths for brush masks: a stream of bits over the bytes of an RGBA image, alpha is the mask.

The format is that of the JavaScript library @thi.ng/rle-pack: 32 bits with the number of words, 5 with the bits of a word less
1, four times 4 with the bits of lengths less 1; then for each run one bit (1: one word many times, 0: as many words), two that
choose the bits of its length, the length less 1, and its word or words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskrcnn.annotations.outlines import MAX_PIXELS

LENGTH_BITS = (3, 4, 8, 16)  # as Label Studio writes them


def decode_brush(values: Sequence[int], height: int, width: int) -> np.ndarray:
    """(height, width) bool of an `rle` list of bytes.

    Raises:
        ValueError: for what is no such list, or one of another size.
    """
    num_words = 4 * height * width
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"a brush mask has a height and a width; received {height}×{width}")
    try:
        stream = _Bits(bytes(values))
    except (TypeError, ValueError):
        raise ValueError("a brush mask is a list of bytes") from None
    if stream.read(32) != num_words:
        raise ValueError(f"a brush mask fills {height}×{width} pixels of four bytes; it does not")
    word_bits = stream.read(5) + 1
    length_bits = [stream.read(4) + 1 for _ in range(4)]
    words = np.zeros(num_words, np.uint8)
    place = 0
    while place < num_words:
        is_run = stream.read(1)
        end = place + 1 + stream.read(length_bits[stream.read(2)])
        if end > num_words:
            raise ValueError("a brush mask's runs end behind the image")
        if is_run:
            words[place:end] = stream.read(word_bits) & 255
        else:
            words[place:end] = [stream.read(word_bits) & 255 for _ in range(end - place)]
        place = end
    return words[3::4].reshape(height, width) > 0


def encode_brush(mask: np.ndarray) -> list[int]:
    """The `rle` list of a mask (H, W): all four bytes of a pixel are 255 in it and 0 outside."""
    flat = np.asarray(mask, bool).ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], edges])
    lengths = 4 * np.diff(np.concatenate([starts, [flat.size]]))
    pieces = [f"{4 * flat.size:032b}", f"{7:05b}", *(f"{bits - 1:04b}" for bits in LENGTH_BITS)]
    for start, length in zip(starts.tolist(), lengths.tolist()):
        word = "11111111" if flat[start] else "00000000"
        while length:
            now = min(length, 2 ** LENGTH_BITS[-1])
            choice = next(k for k, bits in enumerate(LENGTH_BITS) if now <= 2**bits)
            pieces.append(f"1{choice:02b}{now - 1:0{LENGTH_BITS[choice]}b}{word}")
            length -= now
    bits = "".join(pieces)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


class _Bits:
    """Whole numbers out of bytes, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def read(self, count: int) -> int:
        end = self._place + count
        if end > 8 * len(self._data):
            raise ValueError("a brush mask ends before its image does")
        chunk = int.from_bytes(self._data[self._place // 8 : (end + 7) // 8], "big")
        self._place = end
        return (chunk >> (-end % 8)) & ((1 << count) - 1)
