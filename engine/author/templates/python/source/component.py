"""Counts upwards, some numbers a run."""

import engine_plugin as engine

SPLITS = 4


@engine.source(
    "{{name}}",
    summary="Counts upwards, some numbers a run",
    settings={
        "to": engine.integer("The last number; the first one is 1.", minimum=1),
        "per_run": engine.integer("At most this many numbers in one run.", default=1_000_000, minimum=1),
    },
    examples={"from one to ten": {"to": 10}},
    columns={"n": "integer", "text": "text"},
)
class Numbers:
    def open(self, config):
        self.to, self.per_run = config["to"], config["per_run"]

    def plan(self, cursor):
        # The cursor is the last number of the run before.
        last = cursor or 0
        upper = min(self.to, last + self.per_run)
        length = -(-(upper - last) // SPLITS) or 1
        splits = [{"first": at + 1, "last": min(at + length, upper)} for at in range(last, upper, length)]
        return splits, max(upper, last)

    def read(self, split):
        for n in range(split["first"], split["last"] + 1):
            yield {"n": n, "text": f"number {n}"}
