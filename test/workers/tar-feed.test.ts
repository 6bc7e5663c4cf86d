/**
 * The ring between the inflating thread and the tree's: what goes in comes out, over its border, and each side can end it.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, suite, test } from "node:test";
import fc from "fast-check";
import { FeedReader, FeedWriter } from "../../workers/tar-feed.js";
import { stayAwake } from "./work-directory.js";

const RING_BYTES = 4 * 1024 * 1024;
const noise = randomBytes(RING_BYTES);

suite("tar feed", () => {
  after(stayAwake());

  test("bytes come out as they went in, however they are cut, far beyond the ring's size", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: RING_BYTES / 2 }), { maxLength: 20 }), async (sizes) => {
        const writer = new FeedWriter();
        const reader = new FeedReader(writer.shared);
        for (const [index, size] of sizes.entries()) {
          const given = noise.subarray(index, index + size);
          assert.equal(await writer.write(given), true);
          const got: Buffer[] = [];
          for (let bytes = 0; bytes < size; bytes += got.at(-1)?.length ?? 0)
            got.push(Buffer.from(reader.next() as Buffer));
          assert.ok(Buffer.concat(got).equals(given));
        }
        writer.end("whole");
        assert.equal(reader.next(), undefined);
        assert.equal(reader.isWhole, true);
      }),
      { numRuns: 30 },
    );
  });

  test("a writer waits while the ring is full, and goes on when there is room for many pieces", async () => {
    const writer = new FeedWriter();
    const reader = new FeedReader(writer.shared);
    await writer.write(noise);
    const more = writer.write(Buffer.from("more"));
    assert.equal(await Promise.race([more, new Promise((resolve) => setTimeout(resolve, 50, "waits"))]), "waits");
    for (let piece = 0; piece < 5; piece += 1) reader.next();
    assert.equal(await more, true);
  });

  test("a reader is behind while half of the ring or more waits for it", async () => {
    const writer = new FeedWriter();
    const reader = new FeedReader(writer.shared);
    await writer.write(noise);
    let waiting = RING_BYTES;
    for (let piece = reader.next(); piece !== undefined && waiting > 0; piece = reader.next()) {
      assert.equal(reader.isBehind, waiting >= RING_BYTES / 2);
      waiting -= piece.length;
      if (waiting === 0) writer.end("whole");
    }
    assert.equal(waiting, 0);
  });

  test("a writer that finds no room does what else there is, and waits when there is nothing", async () => {
    let left = 3;
    const writer = new FeedWriter(() => {
      left -= 1;
      if (left === 0) for (let piece = 0; piece < 5; piece += 1) reader.next();
      return left >= 0;
    });
    const reader = new FeedReader(writer.shared);
    await writer.write(noise);
    assert.equal(await writer.write(Buffer.from("more")), true);
    assert.equal(left, 0);
    await writer.write(noise.subarray(0, RING_BYTES / 8));
    const waits = writer.write(noise.subarray(0, RING_BYTES / 4));
    assert.equal(await Promise.race([waits, new Promise((resolve) => setTimeout(resolve, 50, "waits"))]), "waits");
    left = 1;
    reader.callWriter();
    assert.equal(await waits, true);
  });

  test("bytes that are written in the ring's own memory come out as they were put there, over its border", async () => {
    let waits = 0;
    const writer = new FeedWriter(() => {
      waits += 1;
      for (let piece = 0; piece < 5; piece += 1) reader.next();
      return true;
    });
    const reader = new FeedReader(writer.shared);
    const sizes = [
      RING_BYTES / 4,
      RING_BYTES / 4 - 5,
      3,
      RING_BYTES / 4,
      RING_BYTES / 4 - 100,
      RING_BYTES,
      1000,
      RING_BYTES,
    ];
    for (const [index, size] of sizes.entries()) {
      const room = await writer.room();
      const given = noise.subarray(index, index + Math.min(size, room.length));
      given.copy(room);
      assert.equal(await writer.write(room.subarray(0, given.length)), true);
      const got: Buffer[] = [];
      for (let bytes = 0; bytes < given.length; bytes += got.at(-1)?.length ?? 0)
        got.push(Buffer.from(reader.next() as Buffer));
      assert.ok(Buffer.concat(got).equals(given));
    }
    await writer.write(noise.subarray(0, RING_BYTES / 2));
    await writer.write(noise.subarray(0, RING_BYTES / 4));
    assert.equal(waits, 0);
    assert.ok((await writer.room()).length > 0);
    assert.equal(waits, 1);
    reader.leave();
    assert.ok((await writer.room()).length > 0, "nobody waits for a reader that has left");
  });

  test("a writer that has ended does what else there is until the reader has left", async () => {
    let toDo = 2;
    const writer = new FeedWriter(() => {
      toDo -= 1;
      return toDo >= 0;
    });
    const reader = new FeedReader(writer.shared);
    writer.end("whole");
    const left = writer.left();
    assert.equal(await Promise.race([left, new Promise((resolve) => setTimeout(resolve, 50, "waits"))]), "waits");
    // Both bits, and a look in vain.
    assert.equal(toDo, -1);
    reader.leave();
    await left;
    assert.equal(reader.isWhole, true);
  });

  test("a reader that leaves lets a waiting writer go, and no byte follows", async () => {
    const writer = new FeedWriter();
    const reader = new FeedReader(writer.shared);
    await writer.write(noise);
    const more = writer.write(Buffer.from("more"));
    reader.leave();
    assert.equal(await more, false);
    assert.equal(await writer.write(Buffer.from("again")), false);
    writer.end("whole");
    await writer.left();
    assert.equal(reader.isWhole, false);
  });

  test("a feed that was cut gives what it has, and says so", async () => {
    const writer = new FeedWriter();
    const reader = new FeedReader(writer.shared);
    await writer.write(Buffer.from("half"));
    writer.end("cut");
    assert.equal(String(reader.next()), "half");
    assert.deepEqual([reader.next(), reader.isWhole], [undefined, false]);
    writer.restart();
    await writer.write(Buffer.from("whole"));
    writer.end("whole");
    const again = new FeedReader(writer.shared);
    assert.deepEqual([String(again.next()), again.next(), again.isWhole], ["whole", undefined, true]);
  });
});
