/** Tries to reach what it was not granted, and tells how that ended. */
import * as engine from "./engine-plugin.js";

const tries = {
  async fetch(url) {
    let response = await engine.fetch(url);
    if (response.status === 302) response = await engine.fetch(response.headers.get("location"));
    return `${response.status} ${response.url} ${(await response.text()).slice(0, 200)}`;
  },
  environment: (name) => engine.environment(name) ?? null,
  read: (path) => new TextDecoder().decode(engine.files.read(path)).slice(0, 200),
  write(path) {
    const file = engine.files.create(path);
    file.write(new TextEncoder().encode("hostile\n"));
    file.close();
    return "8";
  },
};

engine.source("probe", {
  summary: "Tries to reach what it was not granted",
  settings: {
    fetch: engine.text("An address to ask for.", { default: null }),
    environment: engine.text("A variable to read.", { default: null }),
    read: engine.text("A file to read.", { default: null }),
    write: engine.text("A file to write.", { default: null }),
    forgive: engine.text("An address to ask for while planning, and to do without.", { default: null }),
  },
  examples: { "a variable": { environment: "HOME" } },
  columns: { tried: "text", found: "text" },

  open(config) {
    ({ forgive: this.forgiven = null, ...this.config } = config);
  },
  async plan() {
    if (this.forgiven !== null) await engine.fetch(this.forgiven).catch(() => null);
    return { splits: [{}] };
  },
  async *read() {
    if (this.forgiven !== null) throw new engine.Error("unavailable", "the other service is down");
    for (const [what, target] of Object.entries(this.config)) {
      if (target !== null) yield { tried: `${what} ${target}`, found: await tries[what](target) };
    }
  },
});
