"""Puts every delivery into a folder, as a file of its own."""

import os

import engine_plugin as engine


@engine.sink(
    "{{name}}",
    summary="Puts every delivery into a folder, as a file of its own",
    settings={"folder": engine.text("The folder, relative to the pipeline file. It must exist.", format="template")},
    examples={"beside the pipeline file": {"folder": "."}},
    takes="files",
    promise="idempotent",
)
class Folder:
    def open(self, config):
        self.folder = engine.path(config["folder"])

    def paths(self, delivery):
        # The key as a name, which no other delivery has. Readers ignore hidden files.
        name = delivery["key"].replace("/", ".")
        return os.path.join(self.folder, name), os.path.join(self.folder, f".{name}.part")

    def begin_split(self, delivery):
        published, _ = self.paths(delivery)
        if os.path.exists(published):
            return {"location": published, "bytes": os.path.getsize(published)}
        self.abort(delivery)

    def start(self, delivery, columns):
        self.file = open(self.paths(delivery)[1], "wb")

    def write(self, name, data):
        self.file.write(data)

    def finish(self, delivery):
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def commit(self, delivery):
        published, unfinished = self.paths(delivery)
        if not os.path.exists(published):
            os.rename(unfinished, published)
        return {"location": published, "bytes": os.path.getsize(published)}

    def abort(self, delivery):
        if os.path.exists(self.paths(delivery)[1]):
            os.remove(self.paths(delivery)[1])
