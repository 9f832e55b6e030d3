"""Size and time of animated .glb files of the built-in head: sparse targets against dense ones.

python benchmarks/bench_gltf.py
"""

import json
import struct
import tempfile
import time
from pathlib import Path

import numpy as np

from deeptalk.export.gltf import write_gltf
from deeptalk.take import Take

SECONDS, FRAME_RATE = 4.0, 25.0


def target_bytes(path: Path) -> int:
    """Bytes of the buffer views that morph targets use."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    document = json.loads(content[20 : 20 + length])
    views = set()
    for primitive in document["meshes"][0]["primitives"]:
        for number in {one for target in primitive["targets"] for one in target.values()}:
            accessor = document["accessors"][number]
            sparse = accessor.get("sparse", {"indices": {}, "values": {}})
            views |= {part.get("bufferView") for part in (accessor, sparse["indices"], sparse["values"])}
    return sum(document["bufferViews"][view]["byteLength"] for view in views - {None})


def main() -> None:
    """Write the files and print their sizes."""
    rng = np.random.default_rng(0)
    frames = round(SECONDS * FRAME_RATE)
    take = Take(
        motion=rng.random((frames, 52), dtype=np.float32),
        frame_rate=FRAME_RATE,
        samples=(0.1 * rng.normal(size=round(SECONDS * 16000))).astype(np.float32),
    ).with_idle(0)
    print(f"{SECONDS:g} s at {FRAME_RATE:g} Hz with sound, normals, textures and head rotation")
    print("| targets | targets, MB | file, MB | seconds |\n| --- | --- | --- | --- |")
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, sparse in (("first file", True), ("sparse", True), ("dense", False)):
            path = Path(folder) / "take.glb"
            started = time.perf_counter()
            write_gltf(take, path, sparse=sparse)
            seconds = time.perf_counter() - started
            sizes[name] = target_bytes(path)
            print(f"| {name} | {sizes[name] / 1e6:.2f} | {path.stat().st_size / 1e6:.2f} | {seconds:.2f} |")
    print(f"Dense targets are {sizes['dense'] / sizes['sparse']:.1f} times as large.")


if __name__ == "__main__":
    main()
