import assert from "node:assert/strict";
import { test } from "node:test";
import { StrataError } from "../../src/errors.js";
import { type Piece, reserveOf, SpaceLedger } from "../../src/install/space-ledger.js";
import type { Amount } from "../../src/store/collection.js";

const never = new AbortController().signal;
const none: Amount = { bytes: 0, inodes: 0 };

/** A disk with so much free; each of `room` is what one way to make room gives back. */
function disk(free: Amount, { reserve = none, room = [none] }: { reserve?: Amount; room?: readonly Amount[] } = {}) {
  const state = { free, asked: [] as Amount[] };
  const ledger = new SpaceLedger({
    measure: async () => ({ free: state.free, reserve }),
    makeRoom: room.map(({ bytes, inodes }) => async (wanted) => {
      state.asked.push(wanted);
      state.free = { bytes: state.free.bytes + bytes, inodes: state.free.inodes + inodes };
    }),
    stateDir: "/state",
  });
  return { ledger, state };
}

const piece = (key: string, bytes: number, inodes = 0, share = () => 0): Piece => ({ key, bytes, inodes, share });
const refused = (code: Record<string, number>) => (error: unknown) => {
  assert.ok(error instanceof StrataError && error.code === "NO_SPACE");
  assert.deepEqual(error.options.details, code);
  return true;
};

test("what fits beside the reserve is let in, and a byte or an inode more is not", async () => {
  const { ledger } = disk({ bytes: 1000, inodes: 50 }, { reserve: { bytes: 400, inodes: 20 } });
  assert.equal(await ledger.with([piece("a", 600, 30)], never, async () => "written"), "written");
  const bytes = ledger.with([piece("a", 601, 30)], never, async () => assert.fail("begun"));
  await assert.rejects(bytes, refused({ needBytes: 601, haveBytes: 600, needInodes: 30, haveInodes: 30 }));
  const inodes = ledger.with([piece("a", 1, 31)], never, async () => assert.fail("begun"));
  await assert.rejects(inodes, refused({ needBytes: 1, haveBytes: 600, needInodes: 31, haveInodes: 30 }));
});

test("ten jobs that each fit do not fill the disk together", async () => {
  const { ledger } = disk({ bytes: 1000, inodes: 100 });
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const jobs = Array.from({ length: 10 }, (_, i) => ledger.with([piece(`layer ${i}`, 300)], never, () => ended));
  const refusals = jobs.slice(3).map((job) => assert.rejects(job, { code: "NO_SPACE" }));
  await Promise.all(refusals);
  end();
  await Promise.all(jobs.slice(0, 3));
  await ledger.with([piece("next", 1000)], never, async () => undefined);
});

test("a layer that two jobs need is counted once, as long as one of them runs", async () => {
  const { ledger } = disk({ bytes: 1000, inodes: 100 });
  const ends: (() => void)[] = [];
  const open = () => new Promise<void>((resolve) => ends.push(resolve));
  const first = ledger.with([piece("shared", 700)], never, open);
  const second = ledger.with([piece("shared", 700), piece("own", 300)], never, open);
  await assert.rejects(ledger.with([piece("third", 1)], never, open), { code: "NO_SPACE" });
  ends[0]?.();
  await first;
  await assert.rejects(ledger.with([piece("third", 1)], never, open), { code: "NO_SPACE" });
  ends[1]?.();
  await second;
  await ledger.with([piece("third", 1000)], never, async () => undefined);
});

test("what a running job has written is not counted a second time", async () => {
  const { ledger, state } = disk({ bytes: 1000, inodes: 100 });
  const work = ledger.with([piece("half", 800, 10, () => 0.5)], never, async () => {
    state.free = { bytes: 600, inodes: 95 };
    await ledger.with([piece("other", 200)], never, async () => undefined);
    await assert.rejects(
      ledger.with([piece("other", 201)], never, async () => undefined),
      { code: "NO_SPACE" },
    );
  });
  await work;
});

test("room is made before anybody is refused, for what is wanted", async () => {
  const { ledger, state } = disk({ bytes: 100, inodes: 10 }, { room: [{ bytes: 50, inodes: 0 }] });
  await ledger.with([piece("a", 150)], never, async () => undefined);
  assert.deepEqual(state.asked, [{ bytes: 50, inodes: 0 }]);
  await assert.rejects(
    ledger.with([piece("a", 300, 12)], never, async () => undefined),
    refused({ needBytes: 300, haveBytes: 200, needInodes: 12, haveInodes: 10 }),
  );
  assert.deepEqual(state.asked[1], { bytes: 150, inodes: 2 });
});

test("who is asked next for room is asked for what still lacks, and not where nothing does", async () => {
  const { ledger, state } = disk(
    { bytes: 100, inodes: 10 },
    { room: [30, 200].map((bytes) => ({ bytes, inodes: 0 })) },
  );
  await ledger.with([piece("a", 120)], never, async () => undefined);
  assert.deepEqual(state.asked, [{ bytes: 20, inodes: 0 }]);
  await ledger.with([piece("a", 200)], never, async () => undefined);
  assert.deepEqual(state.asked.slice(1), [
    { bytes: 70, inodes: 0 },
    { bytes: 40, inodes: 0 },
  ]);
});

test("a job that is cancelled while room is made, or behind one that makes room, ends at once, and the next one is looked at", async () => {
  const [first, second] = [new AbortController(), new AbortController()];
  let asked = 0;
  const ledger = new SpaceLedger({
    measure: async () => ({ free: { bytes: 100, inodes: 10 }, reserve: none }),
    makeRoom: [
      () => {
        asked += 1;
        return new Promise(() => undefined);
      },
    ],
    stateDir: "/state",
  });
  const cancelled = ({ signal }: AbortController) =>
    assert.rejects(
      ledger.with([piece("a", 101)], signal, async () => assert.fail("begun")),
      { code: "CANCELLED" },
    );
  const both = [cancelled(first), cancelled(second)];
  const next = ledger.with([piece("b", 100)], never, async () => "written");
  setImmediate(() => second.abort());
  await both[1];
  setImmediate(() => first.abort());
  await both[0];
  assert.equal(await next, "written");
  assert.equal(asked, 1);
});

test("a job that is cancelled between two ways to make room fails alone, whatever the second says to that", async () => {
  const cancel = new AbortController();
  let looks = 0;
  const ledger = new SpaceLedger({
    measure: async () => {
      looks += 1;
      if (looks === 2) cancel.abort();
      return { free: { bytes: 100, inodes: 10 }, reserve: none };
    },
    makeRoom: [async () => undefined, async (_, signal) => signal.throwIfAborted()],
    stateDir: "/state",
  });
  await assert.rejects(
    ledger.with([piece("a", 101)], cancel.signal, async () => assert.fail("begun")),
    { code: "CANCELLED" },
  );
  await new Promise((resolve) => setImmediate(resolve));
});

test("a message says the need and the have in sizes that a person reads", async () => {
  const { ledger } = disk({ bytes: 2_500_000, inodes: 7 }, { reserve: { bytes: 1_000_000, inodes: 1 } });
  const message =
    "Cannot install the image: it needs 3.0 GB and 5 inodes or more, and /state has 1.5 MB and 6 inodes for it, with 1.0 MB and 1 inodes in reserve";
  await assert.rejects(
    ledger.with([piece("a", 3_000_000_000, 5)], never, async () => undefined),
    { message },
  );
});

test("the reserve is what is configured, 0 too, else a twentieth, and never more than its bound", () => {
  const small = { bytes: 20_000, inodes: 2000 };
  assert.deepEqual(reserveOf(small, {}), { bytes: 1000, inodes: 100 });
  assert.deepEqual(reserveOf(small, { reserveBytes: 0, reserveInodes: 5 }), { bytes: 0, inodes: 5 });
  assert.deepEqual(reserveOf({ bytes: 2 ** 45, inodes: 2 ** 30 }, {}), { bytes: 2 ** 30, inodes: 10_000 });
});

test("what may as well be done later makes no room: it fits or is refused", async () => {
  const { ledger, state } = disk({ bytes: 100, inodes: 10 }, { room: [{ bytes: 900, inodes: 90 }] });
  assert.equal(await ledger.withinFree([piece("fits", 100, 10)], async () => "linked"), "linked");
  await assert.rejects(
    ledger.withinFree([piece("does not", 101, 10)], async () => assert.fail("begun")),
    {
      code: "NO_SPACE",
    },
  );
  assert.deepEqual(state.asked, []);
  await ledger.with([piece("does not", 101, 10)], never, async () => undefined);
  assert.equal(state.asked.length, 1);
});
