"""Peak memory of segmenting one NIfTI volume, in a process of its own: `inference_memory.py MODEL VOLUME`."""

from __future__ import annotations

import json
import sys
import threading
import time

import psutil

from monai_vggunet.segment.segmenter import Segmenter

PAUSE_S = 0.02


class Peak:
    """The largest resident size seen while it watches, bytes."""

    def __enter__(self) -> Peak:
        self.bytes, self._ended = 0, False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._ended:
            self.bytes = max(self.bytes, process.memory_info().rss)
            time.sleep(PAUSE_S)

    def __exit__(self, *args: object) -> None:
        self._ended = True
        self._thread.join()


def main() -> None:
    segmenter = Segmenter(sys.argv[1], "cpu", engine="openvino", precision="int8")
    model = psutil.Process().memory_info().rss
    with Peak() as loading:
        batch = segmenter.load({"image": sys.argv[2], "case": "volume"})
    volume = batch["image"].nbytes
    with Peak() as computing:
        batch = segmenter.compute(batch)
    with Peak() as finishing:
        segmenter.finish(batch)
    peaks = {"loading": loading, "computing": computing, "finishing": finishing}
    print(json.dumps({"model": model, "volume": volume} | {k: p.bytes - model - volume for k, p in peaks.items()}))


if __name__ == "__main__":
    main()
