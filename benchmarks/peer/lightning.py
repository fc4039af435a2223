"""The clock as a callback, for libraries that train with Lightning (in either of its two packages)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peer.task import Clock


def clocked(base: type, clock: Clock, targets: Callable[[Any], int]) -> Any:
    """A callback of the `Callback` class given; targets(batch) is how many targets a batch holds."""

    class Clocked(base):  # type: ignore[misc]
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            clock.start()

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            clock.step(targets(batch))
            trainer.should_stop = trainer.should_stop or clock.over

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            clock.stop()

    return Clocked()


QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""Of a Lightning trainer: nothing beside the steps."""
