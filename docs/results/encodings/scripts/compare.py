"""Ways to make 64 x 64 camera frames smaller, exactly: times smaller, ms to encode and to decode.

    pip install lz4 && nice python docs/results/encodings/scripts/compare.py

Processor time of one frame in chunks of 20 (20 Hz), then of 2 (2 Hz, every tenth frame).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import lz4.block
import matplotlib as mpl
import numpy as np
import pybullet
import pybullet_data
import zstandard

from sim.a1.config import A1TwinConfig

FRAMES = 200
Frames = np.ndarray
Packer = Callable[[bytes], bytes]


def a1() -> Frames:
    """The twin's camera follows a robot that waves its legs."""
    twin = A1TwinConfig(start="standing").build()
    twin.connect()
    rest, frames = np.tile(np.array([0, 0.8, -1.6], np.float32), 4), []
    for i in range(100 + FRAMES):
        twin.command((rest + 0.5 * np.sin(i / 4 + np.arange(12))).astype(np.float32))
        twin.read()
        frames.append(twin.render(64, 64))
    twin.close()
    return np.stack(frames[100:])


def arm() -> Frames:
    """A fixed camera looks at an arm that moves over a table with things on it."""
    pybullet.connect(pybullet.DIRECT)
    pybullet.setAdditionalSearchPath(pybullet_data.getDataPath())
    pybullet.setGravity(0, 0, -9.8)
    pybullet.loadURDF("plane.urdf")
    pybullet.loadURDF("table/table.urdf", [0.5, 0, -0.6])
    robot = pybullet.loadURDF("kuka_iiwa/model.urdf", [0, 0, 0.05], useFixedBase=True)
    for k, thing in enumerate(("duck_vhacd", "lego/lego", "cube_small", "sphere_small")):
        pybullet.loadURDF(f"{thing}.urdf", [0.4 + 0.1 * (k % 3), -0.2 + 0.1 * k, 0.15])
    view = pybullet.computeViewMatrix([1.4, 0.6, 0.9], [0.4, 0, 0.1], [0, 0, 1])
    lens, frames = pybullet.computeProjectionMatrixFOV(50, 1, 0.1, 5), []
    for i in range(100 + FRAMES):
        for j in range(7):
            angle = 0.7 * np.sin(i / 12 + 1.3 * j) + 0.3 * np.sin(i / 31 * j)
            pybullet.setJointMotorControl2(robot, j, pybullet.POSITION_CONTROL, angle, force=200)
        for _ in range(12):
            pybullet.stepSimulation()
        rgba = pybullet.getCameraImage(64, 64, view, lens, renderer=pybullet.ER_TINY_RENDERER)[2]
        frames.append(np.reshape(rgba, (64, 64, 4))[..., :3].astype(np.uint8))
    return np.stack(frames[100:])


def photo() -> Frames:
    """A camera that pans over matplotlib's photograph of Grace Hopper."""
    picture = cv2.imread(str(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    frames = []
    for i in range(FRAMES):
        x, y = 220 + 80 * np.sin(i / 40), 250 + 90 * np.cos(i / 55)
        large = cv2.getRectSubPix(picture, (240, 240), (float(x), float(y)))
        frames.append(cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA))
    return np.stack(frames)


def noisy(frames: Frames) -> Frames:
    """With a sensor's noise of 2 grey levels."""
    noise = np.random.default_rng(0).normal(0, 2, frames.shape)
    return np.clip(frames + noise, 0, 255).round().astype(np.uint8)


def delta(frames: Frames) -> Frames:
    """As daydreamer/wire/images.py does before it packs."""
    change = frames.copy()
    change[1:] -= frames[:-1]
    change[0, :, 1:] -= frames[0, :, :-1]
    return change


def undo(change: Frames) -> Frames:
    """What delta() began with."""
    frames = np.empty_like(change)
    np.cumsum(change[0], axis=1, dtype=np.uint8, out=frames[0])
    for n in range(1, len(frames)):
        np.add(frames[n - 1], change[n], out=frames[n])
    return frames


def deflate(level: int, strategy: int) -> Packer:
    """A zlib compressor."""

    def pack(data: bytes) -> bytes:
        packer = zlib.compressobj(level, zlib.DEFLATED, 15, 8, strategy)
        return packer.compress(data) + packer.flush()

    return pack


def pack_png(frames: Frames) -> list[bytes]:
    """Each frame as a file."""
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return [cv2.imencode(".png", frame, fast)[1].tobytes() for frame in frames]


def unpack_png(files: list[bytes]) -> Frames:
    """What pack_png() began with."""
    return np.stack([cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in files])


PACKERS: dict[str, tuple[Packer, Packer]] = {
    "zlib 1": (deflate(1, zlib.Z_DEFAULT_STRATEGY), zlib.decompress),
    "zlib 6": (deflate(6, zlib.Z_DEFAULT_STRATEGY), zlib.decompress),
    "zlib rle": (deflate(1, zlib.Z_RLE), zlib.decompress),
    "lz4": (lz4.block.compress, lz4.block.decompress),
    "zstd 1": (zstandard.ZstdCompressor(1).compress, zstandard.ZstdDecompressor().decompress),
    "zstd 3": (zstandard.ZstdCompressor(3).compress, zstandard.ZstdDecompressor().decompress),
}


def least_ms(work: Callable[..., object], items: list) -> float:
    """Processor time of a frame, the least of several goes."""
    spent = []
    for _ in range(7):
        start_s = time.process_time()
        for item in items:
            work(item)
        spent.append(time.process_time() - start_s)
    return 1000 * min(spent)


def measure(encode: Callable, decode: Callable, chunks: list[Frames]) -> str:
    """Times smaller, ms to encode, ms to decode, of a frame."""
    packed, frames = [encode(chunk) for chunk in chunks], sum(map(len, chunks))
    assert all(np.array_equal(decode(p), c) for p, c in zip(packed, chunks, strict=True))
    size = sum(len(p) if isinstance(p, bytes) else sum(map(len, p)) for p in packed)
    times = sum(chunk.nbytes for chunk in chunks) / size
    spent = (least_ms(work, items) / frames for work, items in ((encode, chunks), (decode, packed)))
    return f"{times:5.2f} " + " ".join(f"{ms:.3f}" for ms in spent)


def main() -> None:
    """Print both tables."""
    sets = {"a1": a1(), "arm": arm()}
    sets.update({f"{name}, noisy": noisy(frames) for name, frames in sets.items()})
    sets["photo, noisy"] = noisy(photo())
    sets["noise"] = np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 64, 3), np.uint8)
    for rows, step in ((20, 1), (2, 10)):
        print(f"chunks of {rows} frames, every {step}. one; x smaller, ms to encode, ms to decode")
        print(f"{'':16}" + "".join(f"{name:20}" for name in sets))
        cut = {
            name: [np.ascontiguousarray(f[i : i + rows * step : step]) for i in
                   range(0, FRAMES, rows * step)]
            for name, f in sets.items()
        }  # fmt: skip
        line = [measure(pack_png, unpack_png, chunks) for chunks in cut.values()]
        print(f"{'png 1':16}" + "".join(f"{text:20}" for text in line))
        for filtered in (False, True):
            before, after = (delta, undo) if filtered else (lambda x: x, lambda x: x)
            for name, (pack, unpack) in PACKERS.items():
                line = [
                    measure(
                        lambda x, b=before, p=pack: p(b(x).tobytes()),
                        lambda p, a=after, u=unpack, shape=chunks[0].shape: a(
                            np.frombuffer(u(p), np.uint8).reshape(shape)
                        ),
                        chunks,
                    )
                    for chunks in cut.values()
                ]
                title = f"delta, {name}" if filtered else name
                print(f"{title:16}" + "".join(f"{text:20}" for text in line))


if __name__ == "__main__":
    main()
