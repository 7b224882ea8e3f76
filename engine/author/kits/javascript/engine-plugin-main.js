/**
 * Where the built module begins: ties the kit to the engine and to what WASI offers,
 * which exist only there. Not to be edited.
 */
import * as host from "engine:plugin/host@1.0.0";
import { getEnvironment } from "wasi:cli/environment@0.2.0";
import { getDirectories } from "wasi:filesystem/preopens@0.2.0";

import "./component.js";
import { connect, exported, Error as EngineError } from "./engine-plugin.js";

const KIND_OF_CODE = {
  "no-entry": "config",
  "not-directory": "config",
  "is-directory": "config",
  invalid: "config",
  access: "denied",
  "not-permitted": "denied",
  "read-only": "denied",
};

/** Calls WASI; an error code becomes an error that names the path. */
function reach(path, what, call) {
  try {
    return call();
  } catch (error) {
    const code = error?.payload;
    if (typeof code !== "string") throw error;
    throw new EngineError(KIND_OF_CODE[code] ?? "unavailable", `${what} ${path}: ${code}`);
  }
}

let folders;

/** The granted folder that a path lies in, and the path below it. */
function locate(path) {
  folders ??= getDirectories();
  let best;
  for (const [descriptor, granted] of folders) {
    const root = granted.endsWith("/") ? granted : `${granted}/`;
    if (!path.startsWith(root) && path !== granted) continue;
    if (!best || granted.length > best.granted.length)
      best = { descriptor, granted, below: path.slice(root.length) || "." };
  }
  if (best) return best;
  const hint = "grant it at the module's stage: `permissions: {read: [FOLDER]}`, or `write`";
  throw new EngineError("denied", `${path} lies in no folder that the pipeline grants`, { hint });
}

const FOLLOW = { symlinkFollow: true };

const files = {
  size(path) {
    const { descriptor, below } = locate(path);
    try {
      return Number(descriptor.statAt(FOLLOW, below).size);
    } catch (error) {
      if (error?.payload === "no-entry") return undefined;
      return reach(path, "looking for", () => {
        throw error;
      });
    }
  },
  read(path) {
    const { descriptor, below } = locate(path);
    return reach(path, "reading", () => {
      const file = descriptor.openAt(FOLLOW, below, {}, { read: true });
      const size = Number(file.stat().size);
      const whole = new Uint8Array(size);
      for (let at = 0; at < size;) {
        const [piece] = file.read(BigInt(size - at), BigInt(at));
        if (!piece.length) throw new EngineError("unavailable", `reading ${path}: it became shorter`);
        whole.set(piece, at);
        at += piece.length;
      }
      return whole;
    });
  },
  create(path) {
    const { descriptor, below } = locate(path);
    const file = reach(path, "creating", () =>
      descriptor.openAt(FOLLOW, below, { create: true, truncate: true }, { read: true, write: true }),
    );
    let at = 0;
    return {
      write(data) {
        while (data.length) {
          const written = Number(reach(path, "writing", () => file.write(data, BigInt(at))));
          data = data.subarray(written);
          at += written;
        }
      },
      close() {
        reach(path, "writing", () => file.sync());
        file[Symbol.dispose]?.();
      },
    };
  },
  rename(from, to) {
    const [old, made] = [locate(from), locate(to)];
    reach(to, "publishing", () => old.descriptor.renameAt(old.below, made.descriptor, made.below));
  },
  remove(path) {
    if (files.size(path) === undefined) return;
    const { descriptor, below } = locate(path);
    reach(path, "removing", () => descriptor.unlinkFileAt(below));
  },
};

connect({ host, files, environment: () => Object.fromEntries(getEnvironment()) });

export const { component, source, transform, format, sink, writer } = exported;
