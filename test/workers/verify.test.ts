/**
 * Trees that were edited by hand, against what they were made of: every edit is found, by its name, and nothing else is.
 */
import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { suite, test } from "node:test";
import fc from "fast-check";
import { TaskProgress } from "../../src/task-progress.js";
import { spillKey } from "../../workers/file-modes.js";
import verify from "../../workers/verify.js";
import { directory, file, hardlink, symlink, tar } from "../support/tar-builder.js";
import { dealing, dealtOut, things } from "./arbitrary-roots.js";
import { codes, damage, hurtAll, layerOf, rootOf, verified } from "./damage.js";
import { withLinked } from "./linking.js";

const blob = tar(
  directory("app/"),
  file("app/tool", "#!/bin/sh\n", { mode: 0o755 }),
  hardlink("app/alias", "app/tool"),
  file("app/data", "the data"),
  file("app/empty", ""),
  symlink("app/link", "data"),
  directory("app/sub/"),
  file("app/sub/deep", "deep"),
  file("implied/x", "x"),
);

interface Edit {
  readonly title: string;
  /** What is done to the layer's tree; shared inodes are so the root's as well. */
  readonly edit: (tree: string) => void;
  readonly finds: readonly (readonly [finding: string, detail: RegExp])[];
  /** Whether it is seen without reading a byte. */
  readonly withoutReading?: boolean;
}

/** Bytes written the way that leaves the fewest traces: size and time are what they were. */
function overwrite(path: string, text: string): void {
  const { atime, mtime, mode } = lstatSync(path);
  chmodSync(path, 0o600);
  writeFileSync(path, text, { flag: "r+" });
  chmodSync(path, mode & 0o7777);
  utimesSync(path, atime, mtime);
}

const edits: readonly Edit[] = [
  {
    title: "a byte flipped, size and time kept",
    edit: (tree) => overwrite(join(tree, "app/data"), "the dato"),
    finds: [["CONTENT app/data", /^the SHA-256 of its content is [0-9a-f]{64}, not [0-9a-f]{64}$/]],
    withoutReading: false,
  },
  {
    title: "bytes appended",
    edit: (tree) => appendFileSync(join(tree, "app/data"), "!"),
    finds: [["CONTENT app/data", /^it has 9 bytes, not 8; its time is .*, not 2/]],
  },
  {
    title: "a file made writable",
    edit: (tree) => chmodSync(join(tree, "app/data"), 0o644),
    finds: [["MODE app/data", /^its mode is 0644, not 0444$/]],
  },
  {
    title: "a file made setuid",
    edit: (tree) => chmodSync(join(tree, "app/tool"), 0o4555),
    finds: [["MODE app/tool", /^its mode is 4555, not 0555$/]],
  },
  {
    title: "a directory made writable for all",
    edit: (tree) => chmodSync(join(tree, "app/sub"), 0o777),
    finds: [["MODE app/sub", /^its mode is 0777, not 0755$/]],
  },
  {
    title: "an implied directory closed",
    edit: (tree) => chmodSync(join(tree, "implied"), 0o700),
    finds: [["MODE implied", /^its mode is 0700, not 0755$/]],
  },
  {
    title: "a file touched",
    edit: (tree) => utimesSync(join(tree, "app/empty"), 1, 1),
    finds: [["MODE app/empty", /^its time is 1970-01-01T00:00:01.000Z, not /]],
  },
  {
    title: "a file deleted",
    edit: (tree) => keepingTime(join(tree, "app"), () => rmSync(join(tree, "app/data"))),
    finds: [["MISSING app/data", /^the file is not there$/]],
  },
  {
    title: "a directory deleted with all it holds, and the time of the one above",
    edit: (tree) => rmSync(join(tree, "app/sub"), { recursive: true }),
    finds: [
      ["MISSING app/sub", /^the directory is not there$/],
      ["MODE app", /^its time is /],
    ],
  },
  {
    title: "a file added",
    edit: (tree) => keepingTime(join(tree, "app/sub"), () => writeFileSync(join(tree, "app/sub/new"), "")),
    finds: [["EXTRA app/sub/new", /^a file that does not belong here$/]],
  },
  {
    title: "a directory added at the top, with something in it",
    edit: (tree) => mkdirSync(join(tree, "more/below"), { recursive: true }),
    finds: [["EXTRA more", /^a directory that does not belong here$/]],
  },
  {
    title: "a symlink that leads elsewhere",
    edit: (tree) => relink(join(tree, "app/link"), "/etc/passwd"),
    finds: [["LINK_TARGET app/link", /^it leads to \/etc\/passwd, not to data$/]],
  },
  {
    title: "a file that became a symlink",
    edit: (tree) => replace(join(tree, "app/data"), (path) => symlinkSync("/etc/passwd", path)),
    finds: [["CONTENT app/data", /^it is a symlink, not a file$/]],
  },
  {
    title: "a symlink that became a file",
    edit: (tree) => replace(join(tree, "app/link"), (path) => writeFileSync(path, "data")),
    finds: [["CONTENT app/link", /^it is a file, not a symlink$/]],
  },
  {
    title: "a directory that became a symlink to one like it",
    edit: (tree) =>
      replace(join(tree, "app/sub"), (path) => {
        mkdirSync(join(tree, "../elsewhere"));
        writeFileSync(join(tree, "../elsewhere/deep"), "deep");
        symlinkSync("../../elsewhere", path);
      }),
    finds: [["CONTENT app/sub", /^it is a symlink, not a directory$/]],
  },
  {
    title: "a hard link that became a file of its own with other bytes",
    edit: (tree) =>
      replace(join(tree, "app/alias"), (path) => {
        writeFileSync(path, "#!/bin/ls\n", { mode: 0o555 });
        utimesSync(path, lstatSync(join(tree, "app/tool")).mtime, lstatSync(join(tree, "app/tool")).mtime);
      }),
    finds: [["CONTENT app/alias", /^the SHA-256/]],
    withoutReading: false,
  },
];

function keepingTime(path: string, edit: () => void): void {
  const { atime, mtime } = lstatSync(path);
  edit();
  utimesSync(path, atime, mtime);
}

const replace = (path: string, make: (path: string) => void): void =>
  keepingTime(dirname(path), () => {
    rmSync(path, { recursive: true });
    make(path);
  });

const relink = (path: string, target: string): void => {
  const { atime, mtime } = lstatSync(path);
  replace(path, () => symlinkSync(target, path));
  lutimesSync(path, atime, mtime);
};

suite("a layer that was edited by hand", () => {
  for (const { title, edit, finds, withoutReading = true } of edits)
    test(`${title}: ${finds.map(([finding]) => finding).join(", ")}`, async () => {
      await withLinked([blob], {}, async (linked) => {
        assert.deepEqual((await verified(layerOf(linked))).findings, []);
        edit(linked.trees[0] as string);
        const { findings, total } = await verified(layerOf(linked));
        assert.deepEqual(codes(findings), finds.map(([finding]) => finding).sort());
        assert.equal(total, finds.length);
        for (const [finding, detail] of finds)
          assert.match(findings.find(({ code, path }) => `${code} ${path}` === finding)?.detail ?? "", detail);
        const attributes = await verified(layerOf(linked), "attributes");
        assert.deepEqual([attributes.total > 0, attributes.bytes], [withoutReading, 0]);
        assert.deepEqual((await verified(layerOf(linked), "documents")).findings, []);
      });
    });

  test("a flipped byte is found in the part of the list that has the file, and in no other", async () => {
    await withLinked([blob], {}, async (linked) => {
      overwrite(join(linked.trees[0] as string, "app/data"), "the dato");
      const parts = await Promise.all([0, 1, 2].map((index) => verified(layerOf(linked), { index, of: 3 })));
      assert.deepEqual(
        parts.flatMap(({ findings }) => codes(findings)),
        ["CONTENT app/data"],
      );
      assert.equal(
        parts.reduce((sum, { bytes }) => sum + bytes, 0),
        (await verified(layerOf(linked))).bytes,
      );
    });
  });

  test("a changeset that is another is DOCUMENT, and so is one that is gone", async () => {
    await withLinked([blob], {}, async (linked) => {
      const checked = layerOf(linked);
      assert.ok(checked.kind === "layer");
      appendFileSync(checked.changeset.path, "i\tmore\n");
      const { findings } = await verified(checked, "documents");
      assert.deepEqual(codes(findings), ["DOCUMENT changeset"]);
      assert.equal(findings[0]?.detail, "it is not the changeset that was committed");
      rmSync(checked.changeset.path);
      assert.equal((await verified(checked)).findings[0]?.detail, "it cannot be read: ENOENT");
    });
  });

  test("a tree that is gone, or a symlink, is said once", async () => {
    await withLinked([blob], {}, async (linked) => {
      const checked = layerOf(linked);
      renameSync(checked.tree, `${checked.tree}.away`);
      assert.deepEqual(codes((await verified(checked)).findings), ["MISSING "]);
      symlinkSync(`${checked.tree}.away`, checked.tree);
      assert.deepEqual(codes((await verified(checked)).findings), ["CONTENT "]);
    });
  });

  test("further inodes in the spill are judged by the file that they are named after", async () => {
    await withLinked([blob], {}, async (linked) => {
      const checked = layerOf(linked);
      assert.ok(checked.kind === "layer");
      mkdirSync(checked.spill, { recursive: true });
      const copy = (name: string): string => {
        const to = join(checked.spill, `${spillKey(name)}-0`);
        copyFileSync(join(checked.tree, name), to);
        utimesSync(to, lstatSync(join(checked.tree, name)).mtime, lstatSync(join(checked.tree, name)).mtime);
        return to;
      };
      const [data] = [copy("app/data"), copy("app/alias")];
      assert.deepEqual((await verified(checked)).findings, []);
      const root = join(linked.root, "app/data");
      rmSync(root);
      linkSync(data as string, root);
      overwrite(data as string, "the dato");
      writeFileSync(join(checked.spill, "stranger"), "");
      const { findings } = await verified(checked);
      assert.deepEqual(codes(findings), ["CONTENT app/data", "STRANGER stranger"]);
      const inodes = findings.flatMap(({ inode }) => inode ?? []);
      assert.deepEqual((await verified(rootOf(linked), "contents", inodes)).seen, inodes);
    });
  });

  test("a task that nobody wants any more ends", async () => {
    await withLinked([blob], {}, async (linked) => {
      const progress = new TaskProgress();
      progress.cancel();
      const outcome = await verify({ checked: layerOf(linked), extent: "contents", progress: progress.shared });
      assert.equal(outcome.ok ? "" : outcome.error.code, "CANCELLED");
    });
  });
});

suite("a root of links", () => {
  test("what is wrong with a shared inode is the layer's finding, and the root is told to have it", async () => {
    for (const policy of [undefined, "b"] as const)
      await withLinked([blob], policy === undefined ? {} : { policy }, async (linked) => {
        overwrite(join(linked.root, "app/data"), "the dato");
        const { findings } = await verified(layerOf(linked));
        assert.deepEqual(codes(findings), ["CONTENT app/data"]);
        const inodes = findings.flatMap(({ inode }) => inode ?? []);
        const { findings: own, seen, bytes } = await verified(rootOf(linked), "contents", inodes);
        assert.deepEqual([own, seen, bytes], [[], inodes, 0]);
      });
  });

  test("a file that was put in the place of a link is judged by the entry", async () => {
    await withLinked([blob], {}, async (linked) => {
      const [stored, shown] = [join(linked.trees[0] as string, "app/data"), join(linked.root, "app/data")];
      const { mtime } = lstatSync(stored);
      const own = (text: string, mode: number): void =>
        replace(shown, () => {
          writeFileSync(shown, text, { mode });
          utimesSync(shown, mtime, mtime);
        });
      own("the data", 0o444);
      assert.deepEqual((await verified(rootOf(linked))).findings, []);
      own("the dato", 0o444);
      assert.deepEqual(codes((await verified(rootOf(linked))).findings), ["CONTENT app/data"]);
      own("the data", 0o644);
      assert.deepEqual(codes((await verified(rootOf(linked))).findings), ["MODE app/data"]);
    });
  });
});

test("whatever is done to a layer or to what a root has for itself, exactly that is found", async () => {
  const roots = dealing.map((dealt) => ({ ...dealt, link: "hardlink" as const }));
  await fc.assert(
    fc.asyncProperty(
      things,
      roots,
      fc.array(damage, { maxLength: 4 }),
      fc.array(damage, { maxLength: 4 }),
      async (all, dealt, ofLayer, ofRoot) => {
        const { layers, policy } = dealtOut(all, dealt);
        await withLinked(layers, policy === undefined ? {} : { policy }, async (linked) => {
          assert.equal(linked.error, undefined);
          const own = hurtAll(linked.root, true, ofRoot);
          assert.deepEqual(codes((await verified(rootOf(linked))).findings), own);
          for (const [index, tree] of linked.trees.entries()) {
            const done = hurtAll(tree, false, ofLayer);
            assert.deepEqual(codes((await verified(layerOf(linked, index))).findings), done);
          }
        });
      },
    ),
    { numRuns: 60 },
  );
});
