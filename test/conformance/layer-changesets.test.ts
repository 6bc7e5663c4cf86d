/**
 * image-spec v1.1.1, layer.md: one test for each sentence with MUST or MUST NOT that who applies layers can keep, from the bytes of
 * the archives to the plan under policy a. The titles are the sentences.
 *
 * The others, and why they are not here:
 * - "Implementations on Windows MUST support these additional attributes, encoded in PAX vendor extensions […] as follows:":
 *   stratad runs on Linux; PAX records that it does not know are ignored.
 * - "Any changes to the snapshot MUST NOT change or affect the directory it was copied from.": of who creates layers.
 * - Of the attributes after "Where supported, MUST include file attributes for Additions and Modifications include:" the test has
 *   those that a store without privileges can support. Owners and extended attributes are dropped, and counted.
 */
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { suite, test } from "node:test";
import { gzipSync } from "node:zlib";
import type { Changeset, RootEntry } from "../../src/overlap/changeset.js";
import { acceptedPlan } from "../overlap/planning.js";
import { directory, file, hardlink, MTIME, symlink, tar } from "../support/tar-builder.js";
import { outcomeOfBytes, withUnpacked } from "../workers/unpacking.js";

/** What the root of these archives, the lowest first, holds. */
async function entriesOf(...archives: readonly Buffer[]): Promise<RootEntry[]> {
  const changesets: Changeset[] = [];
  for (const archive of archives) {
    const changeset = await withUnpacked(archive, {}, ({ error, changeset }) => {
      assert.equal(error, undefined, error?.message);
      return changeset;
    });
    changesets.push(changeset);
  }
  return acceptedPlan(changesets, "a").map(({ entry }) => entry);
}

/** The same by path, in words. */
async function rootOf(...archives: readonly Buffer[]): Promise<Record<string, string>> {
  const entries = await entriesOf(...archives);
  return Object.fromEntries(entries.map((entry) => [entry.path, words(entry, entries)]));
}

function words(entry: RootEntry, all: readonly RootEntry[]): string {
  switch (entry.type) {
    case "file": {
      const links = all.filter((each) => each.type === "hardlink" && each.target === entry.path);
      const names = [entry, ...links].map(({ path }) => path).sort();
      const content = contents.get(entry.sha256) ?? "unknown";
      return names.length === 1 ? content : `${content} of ${names.join(" = ")}`;
    }
    case "hardlink":
      return words(all.find(({ path }) => path === entry.target) as RootEntry, all);
    case "symlink":
      return `-> ${entry.target}`;
    case "dir":
      return `directory ${entry.mode.toString(8)}`;
    case "implied":
      return "directory";
  }
}

/** What the files of these tests hold, by hash. */
const contents = new Map(["", "lower", "upper", "other"].map((text) => [hash("sha256", text), text]));

suite("image-spec layer.md", () => {
  test("Layer Changesets for the [media type](media-types.md) `application/vnd.oci.image.layer.v1.tar` MUST be packaged in [tar archive][tar-archive].", async () => {
    const blob = tar(directory("a/"), file("a/f", "lower"));
    assert.deepEqual(
      await outcomeOfBytes(blob),
      new Map([
        ["a", "dir"],
        ["a/f", "file lower"],
      ]),
    );
    const others: readonly [what: string, bytes: Buffer, code: string][] = [
      ["nothing", Buffer.alloc(0), "TAR_TRUNCATED"],
      ["a compressed tar", gzipSync(blob), "MEDIA_TYPE_MISMATCH"],
      ["a zip file", Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(1020, 1)]), "TAR_CHECKSUM"],
      ["a page", Buffer.from("<!doctype html>".padEnd(1024)), "MEDIA_TYPE_MISMATCH"],
      ["half a tar", blob.subarray(0, 700), "TAR_TRUNCATED"],
    ];
    for (const [what, bytes, code] of others) assert.equal(await outcomeOfBytes(bytes), code, what);
  });

  test("Layer Changesets for the [media type](media-types.md) `application/vnd.oci.image.layer.v1.tar` MUST NOT include duplicate entries for file paths in the resulting [tar archive][tar-archive].", async () => {
    const twice: readonly [what: string, ...parts: Buffer[]][] = [
      ["a file", file("a", "x"), file("a", "x")],
      ["a file in other words", file("d/a", "x"), file("./d//a", "y")],
      ["a symlink", symlink("a", "b"), symlink("a", "b")],
      ["a hard link", file("f"), hardlink("a", "f"), hardlink("a", "f")],
      ["a file and a directory", file("a"), directory("a/")],
      ["a directory and a symlink", directory("a/"), symlink("a", "b")],
      ["directories of two modes", directory("a/", { mode: 0o755 }), directory("a/", { mode: 0o700 })],
    ];
    for (const [what, ...parts] of twice) assert.equal(await outcomeOfBytes(tar(...parts)), "DUPLICATE_PATH", what);
  });

  test("Where supported, MUST include file attributes for Additions and Modifications include:", async () => {
    const base = tar(file("modified", "lower"), directory("d/"));
    const over = tar(
      file("added", "upper", { mode: 0o754, mtime: MTIME + 1 }),
      file("modified", "upper", { mode: 0o640, mtime: MTIME + 2 }),
      directory("d/", { mode: 0o711, mtime: MTIME + 3 }),
      symlink("s", "/any where\\at/all/..", { mtime: MTIME + 4 }),
      hardlink("h", "added"),
    );
    const entries = await entriesOf(base, over);
    const byPath = Object.fromEntries(entries.map((entry) => [entry.path, entry]));
    const content = { size: 5, sha256: hash("sha256", "upper") };
    assert.deepEqual(byPath, {
      added: { type: "file", path: "added", mode: 0o754, mtime: MTIME + 1, ...content },
      modified: { type: "file", path: "modified", mode: 0o640, mtime: MTIME + 2, ...content },
      d: { type: "dir", path: "d", mode: 0o711, mtime: MTIME + 3 },
      s: { type: "symlink", path: "s", target: "/any where\\at/all/..", mtime: MTIME + 4 },
      h: { type: "hardlink", path: "h", target: "added" },
    });
  });

  test("To signify that the resource `./etc/my-app-config` MUST be removed when the changeset is applied, the basename of the entry is prefixed with `.wh.`.", async () => {
    const base = tar(
      directory("./"),
      directory("./etc/"),
      file("./etc/my-app-config", "lower"),
      directory("./bin/"),
      file("./bin/my-app-binary", "lower"),
      file("./bin/my-app-tools", "lower"),
    );
    const over = tar(
      directory("./etc/my-app.d/"),
      file("./etc/my-app.d/default.cfg", "upper"),
      file("./bin/my-app-tools", "upper"),
      file("./etc/.wh.my-app-config"),
    );
    assert.deepEqual(await rootOf(base, over), {
      bin: "directory 755",
      "bin/my-app-binary": "lower",
      "bin/my-app-tools": "upper",
      etc: "directory 755",
      "etc/my-app.d": "directory 755",
      "etc/my-app.d/default.cfg": "upper",
    });
  });

  test("If the entry and the existing path are both directories, then the existing path's attributes MUST be replaced by those of the entry in the changeset.", async () => {
    const base = tar(directory("d/", { mode: 0o755 }), file("d/f", "lower"), file("implied/f", "lower"));
    const over = tar(directory("d/", { mode: 0o700 }), directory("implied/", { mode: 0o711 }));
    const merged = { d: "directory 700", "d/f": "lower", implied: "directory 711", "implied/f": "lower" };
    assert.deepEqual(await rootOf(base, over), merged);
    assert.deepEqual(await rootOf(base, over, tar(file("d/g", "other"))), { ...merged, "d/g": "other" });
  });

  test("In all other cases, the implementation MUST do the semantic equivalent of the following:", async () => {
    const of = (type: string): Buffer[] => {
      const own = type.startsWith("lower") ? "lower" : "upper";
      switch (type.split(" ")[1]) {
        case "directory":
          return [directory("x/"), file(`x/${own}`, own)];
        case "symlink":
          return [symlink("x", own)];
        case "link":
          return [file(own, own), hardlink("x", own)];
        default:
          return [file("x", own)];
      }
    };
    const types = ["file", "directory", "symlink", "link"];
    for (const below of types) {
      for (const above of types) {
        if (below === "directory" && above === "directory") continue;
        const alone = await rootOf(tar(...of(`upper ${above}`)));
        const root = await rootOf(tar(...of(`lower ${below}`)), tar(...of(`upper ${above}`)));
        // The name that the lower link shares its file with is no part of this.
        const { lower, ...rest } = root;
        assert.deepEqual(rest, alone, `${above} over ${below}`);
        assert.equal(lower, below === "link" ? "lower" : undefined);
      }
    }
  });

  test("Once a whiteout is applied, the whiteout itself MUST also be hidden.", async () => {
    const base = tar(directory("a/"), file("a/b", "lower"), file("c", "lower"));
    const over = tar(file("a/.wh.b"), file(".wh.c"), file("a/.wh..wh..opq"), file(".wh.never-there"));
    assert.deepEqual(await rootOf(base, over), { a: "directory 755" });
    assert.deepEqual(await rootOf(over), {});
  });

  test("Whiteout files MUST only apply to resources in lower/parent layers.", async () => {
    const base = tar(
      directory("a/"),
      directory("a/b/"),
      directory("a/b/c/"),
      file("a/b/c/bar", "lower"),
      file("f", "lower"),
    );
    const [explicit, opaque] = [file("a/.wh.b"), file("a/.wh..wh..opq")];
    const own = [
      directory("a/"),
      directory("a/b/"),
      directory("a/b/c/"),
      file("a/b/c/foo", "upper"),
      file("f", "upper"),
    ];
    const hidden = file(".wh.f");
    const root = {
      a: "directory 755",
      "a/b": "directory 755",
      "a/b/c": "directory 755",
      "a/b/c/foo": "upper",
      f: "upper",
    };
    for (const mark of [explicit, opaque]) {
      assert.deepEqual(await rootOf(base, tar(hidden, mark, ...own)), root, "before its siblings");
      assert.deepEqual(await rootOf(base, tar(...own, mark, hidden)), root, "after its siblings");
    }
    const { "a/b/c/foo": _, ...others } = root;
    assert.deepEqual(await rootOf(base, tar(...own), tar(file("a/b/c/.wh.foo"))), {
      ...others,
      "a/b/c/bar": "lower",
    });
  });

  test("Implementations SHOULD generate layers using _explicit whiteout_ files, but MUST accept both.", async () => {
    const base = tar(
      directory("etc/"),
      file("etc/my-app-config", "lower"),
      directory("bin/"),
      file("bin/my-app-binary", "lower"),
      file("bin/my-app-tools", "lower"),
      directory("bin/tools/"),
      file("bin/tools/my-app-tool-one", "lower"),
    );
    const opaque = tar(directory("bin/"), file("bin/.wh..wh..opq"));
    const explicit = tar(
      directory("bin/"),
      file("bin/.wh.my-app-binary"),
      file("bin/.wh.my-app-tools"),
      file("bin/.wh.tools"),
    );
    const root = { bin: "directory 755", etc: "directory 755", "etc/my-app-config": "lower" };
    assert.deepEqual(await rootOf(base, opaque), root);
    assert.deepEqual(await rootOf(base, explicit), root);
  });
});
