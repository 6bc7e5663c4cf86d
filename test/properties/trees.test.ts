/**
 * Random trees through the whole engine: packed by tar-stream, unpacked, planned and linked; what comes out is what went in.
 */
import assert from "node:assert/strict";
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { pack } from "tar-stream";
import { file, hardlink, MTIME, tar } from "../support/tar-builder.js";
import { type Linked, withLinked } from "../workers/linking.js";
import { describeTree, onDisk, outcomeOfBytes } from "../workers/unpacking.js";

/** By path: what a file holds, where a symlink points, or undefined for a directory. */
type Model = ReadonlyMap<string, { readonly file: string } | { readonly symlink: string } | undefined>;

const name = fc.oneof(
  fc.constantFrom("a", "b", "c", "\u00e9", "with space", "back\\slash", "new\nline", "-", "x".repeat(150)),
  fc
    .string({ unit: fc.constantFrom("p", "q", "."), minLength: 1, maxLength: 3 })
    .filter((text) => !/^\.{1,2}$/.test(text)),
);
const leaf = fc.oneof(
  fc.record({ file: fc.string({ unit: "grapheme-ascii", maxLength: 30 }) }),
  fc.record({ symlink: fc.constantFrom("x", "../..", "/etc/passwd", "l".repeat(120)) }),
  fc.constant(undefined),
);
const model: fc.Arbitrary<Model> = fc
  .array(fc.tuple(fc.array(name, { minLength: 1, maxLength: 3 }), leaf), { maxLength: 12 })
  .map((paths) => {
    const found = new Map<string, { readonly file: string } | { readonly symlink: string } | undefined>();
    for (const [components, what] of paths) {
      const parents = components.map((_, i) => components.slice(0, i).join("/")).slice(1);
      if (found.has(components.join("/")) || parents.some((path) => found.get(path) !== undefined)) continue;
      for (const path of parents) found.set(path, undefined);
      found.set(components.join("/"), what);
    }
    return found;
  });

async function packed(tree: Model): Promise<Buffer> {
  const stream = pack();
  for (const [path, what] of tree) {
    if (what === undefined) stream.entry({ name: path, type: "directory", mode: 0o755 });
    else if ("file" in what) stream.entry({ name: path }, what.file);
    else stream.entry({ name: path, type: "symlink", linkname: what.symlink });
  }
  stream.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const bytesOf = (text: string): string => Buffer.from(text).toString("latin1");
const described = (tree: Model): Record<string, string> =>
  Object.fromEntries(
    [...tree].map(([path, what]) => {
      const text =
        what === undefined ? "dir" : "file" in what ? `file ${what.file}`.trimEnd() : `symlink ${what.symlink}`;
      return [bytesOf(path), text];
    }),
  );

suite("any tree", () => {
  test("what tar-stream packs comes out as it went in", async () => {
    await fc.assert(
      fc.asyncProperty(model, fc.boolean(), async (tree, compress) => {
        const bytes = await packed(tree);
        const outcome = await outcomeOfBytes(compress ? gzipSync(bytes) : bytes, { codec: compress ? "gzip" : "none" });
        assert.ok(typeof outcome !== "string", String(outcome));
        assert.deepEqual({ ...Object.fromEntries(outcome) }, described(tree));
      }),
      { numRuns: 250 },
    );
  });

  test("the linked root is the union of its layers, on their inodes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.tuple(model, model, model), fc.integer({ min: 1, max: 5 }), async (models, parts) => {
        const layers = models.map((tree, i) => new Map([...tree].map(([path, what]) => [`${i}${path}`, what])));
        await withRoot(layers, parts, ({ root, trees }) => {
          const union: Record<string, string> = Object.assign({}, ...layers.map(described));
          assert.deepEqual(Object.fromEntries(describeTree(root)), union);
          for (const [i, layer] of layers.entries()) judgeInodes(root, trees[i] as string, layer);
        });
      }),
      { numRuns: 60 },
    );
  });

  test("a layer in many parts gives the same root, in whatever order they are linked", async () => {
    // Nested, so that directories reach over the borders of the parts.
    const large = new Map<string, { readonly file: string } | undefined>();
    for (let d = 0; d < 5; d += 1) {
      const directory = `top/${"deep/".repeat(d)}d${d}`;
      for (let slash = directory.indexOf("/"); slash !== -1; slash = directory.indexOf("/", slash + 1))
        large.set(directory.slice(0, slash), undefined);
      large.set(directory, undefined);
      for (let f = 0; f < 2500; f += 1) large.set(`${directory}/f${f}`, { file: f % 2 === 0 ? "" : "x" });
    }
    await withRoot([large, new Map([["other", { file: "y" }]])], 3, ({ root, trees }) => {
      const [linked, stored] = [describeTree(root), describeTree(trees[0] as string)];
      assert.equal(linked.size, stored.size + 1);
      for (const [path, what] of stored) assert.equal(linked.get(path), what);
      for (const [path, what] of stored) {
        if (what !== "dir") continue;
        const [is, should] = [lstatSync(join(root, path)), lstatSync(join(trees[0] as string, path))];
        assert.deepEqual([is.mode, is.mtimeMs], [should.mode, should.mtimeMs], path);
      }
    });
  });
});

suite("hard links", () => {
  test("names of one file stay names of the stored file; names of an empty one are made anew", async () => {
    const blob = tar(
      file("0full", "x"),
      file("0empty", "", { mode: 0o600 }),
      hardlink("0a", "0full"),
      hardlink("0b", "0empty"),
    );
    await withLinked([blob], {}, ({ root, trees }) => {
      const inode = (top: string, path: string): number => lstatSync(join(top, path)).ino;
      const stored = trees[0] as string;
      assert.equal(inode(root, "0a"), inode(stored, "0full"));
      assert.equal(inode(stored, "0b"), inode(stored, "0empty"));
      for (const path of ["0b", "0empty"]) {
        const { nlink, mode, mtimeMs, size } = lstatSync(join(root, path));
        assert.deepEqual([nlink, mode & 0o777, mtimeMs, size], [1, 0o400, MTIME * 1000, 0], path);
      }
    });
  });
});

/** Links the layers of these trees in so many parts, and lets `look` judge the root. */
async function withRoot(layers: readonly Model[], parts: number, look: (linked: Linked) => void): Promise<void> {
  await withLinked(await Promise.all(layers.map(packed)), { parts }, look);
}

function judgeInodes(root: string, stored: string, layer: Model): void {
  for (const [path, what] of layer) {
    const [is, should] = [root, stored].map((top) => lstatSync(onDisk(top, bytesOf(path)))) as [never, never];
    const { ino, mode, mtimeMs } = is as ReturnType<typeof lstatSync> & { ino: number; mode: number; mtimeMs: number };
    const store = should as { ino: number; mode: number; mtimeMs: number };
    assert.deepEqual([mode, mtimeMs], [store.mode, store.mtimeMs], path);
    // Empty files are made anew: they are the inode that runs out of links.
    if (what !== undefined && "file" in what) assert.equal(ino === store.ino, what.file !== "", path);
  }
}
