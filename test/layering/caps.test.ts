/** Caps on layers, against all ways to keep them. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { capped } from "../../src/layering/capped-layers.js";
import { byCost, type Caps, costOf, keepsCaps, layersOf, type Parts, type Portion } from "../../src/layering/caps.js";
import { dissolvedLayers } from "../../src/layering/dissolved-layers.js";
import { type ImageSet, imagesOf, isWithin } from "../../src/layering/image-sets.js";

/** Portions of sets that differ. */
function portionsOf(images: number, maxPortions: number): fc.Arbitrary<Portion[]> {
  const portion = fc.record({
    images: fc.integer({ min: 1, max: 2 ** images - 1 }).map(BigInt),
    bytes: fc.oneof(fc.constant(0), fc.nat(20), fc.nat(1000)),
    entries: fc.nat(3),
  });
  return fc.uniqueArray(portion, { selector: ({ images }) => images, minLength: 1, maxLength: maxPortions });
}

const caps: fc.Arbitrary<Caps> = fc.record({
  maxLayers: fc.constantFrom(1, 2, 3, Number.POSITIVE_INFINITY),
  minLayerBytes: fc.constantFrom(0, 0, 5, 100, 5000),
});

suite("caps", () => {
  test("a small family is layered at the least cost there is", () => {
    const methods = { none: 0, exact: 0, greedy: 0 };
    fc.assert(
      fc.property(fc.oneof(portionsOf(3, 7), portionsOf(4, 4)), caps, (portions, some) => {
        const { parts, figures } = capped(portions, some);
        methods[figures.method] += 1;
        assertAreParts(portions, parts);
        assert.ok(keepsCaps(layersOf(portions, parts), some));
        const best = cheapest(portions, some);
        const [cost, least] = [costOf(portions, parts), costOf(portions, best)];
        // Where nothing had to change, fewer layers are not looked for.
        assert.deepEqual({ ...cost, layers: 0 }, { ...least, layers: 0 });
        if (figures.method === "exact") assert.equal(cost.layers, least.layers);
        assert.equal(figures.duplicatedBytes, least.bytes);
        assert.equal(figures.atLeastBytes, figures.duplicatedBytes);
      }),
      { numRuns: 300 },
    );
    assert.ok(methods.none > 10 && methods.exact > 50 && methods.greedy === 0, JSON.stringify(methods));
  });

  test("any family is layered within the caps, and duplicates neither less than it says at least nor more than one layer each", () => {
    fc.assert(
      fc.property(portionsOf(9, 40), caps, (portions, some) => {
        const { parts, figures } = capped(portions, some);
        assertAreParts(portions, parts);
        assert.ok(keepsCaps(layersOf(portions, parts), some));
        const most = portions.reduce((sum, { images, bytes }) => sum + bytes * (imagesOf(images).length - 1), 0);
        assert.ok(figures.atLeastBytes <= figures.duplicatedBytes && figures.duplicatedBytes <= most);
      }),
      { numRuns: 150 },
    );
  });

  test("what dissolving finds keeps the caps and is not below its bound", () => {
    let best = 0;
    let all = 0;
    fc.assert(
      fc.property(fc.oneof(portionsOf(3, 7), portionsOf(4, 4)), caps, (portions, some) => {
        const found = dissolvedLayers(portions, some);
        assertAreParts(portions, found);
        assert.ok(keepsCaps(layersOf(portions, found), some));
        const [cost, least] = [costOf(portions, found), costOf(portions, cheapest(portions, some))];
        assert.ok(cost.bytes >= least.bytes);
        all += 1;
        if (cost.bytes === least.bytes) best += 1;
      }),
      { numRuns: 200 },
    );
    assert.ok(best > all / 2, `the least in ${best} of ${all}`);
  });

  test("images that have the same are never told apart", () => {
    const portions = [
      { images: 0b1111n, bytes: 10, entries: 1 },
      { images: 0b0011n, bytes: 10, entries: 1 },
    ];
    const { parts } = capped(portions, { maxLayers: 1, minLayerBytes: 0 });
    assert.deepEqual(parts, [[0b0011n, 0b1100n], [0b0011n]]);
  });

  test("a layer that is too small stays where an image has nothing else", () => {
    const portions = [
      { images: 0b11n, bytes: 1, entries: 1 },
      { images: 0b10n, bytes: 100, entries: 1 },
    ];
    assert.deepEqual(capped(portions, { maxLayers: 9, minLayerBytes: 50 }).figures.method, "none");
  });
});

function assertAreParts(portions: readonly Portion[], parts: Parts): void {
  assert.equal(parts.length, portions.length);
  for (const [nth, { images }] of portions.entries()) {
    let rest = images;
    for (const part of parts[nth] as readonly ImageSet[]) {
      assert.ok(part !== 0n && isWithin(part, rest), "parts are disjoint, and within what they are parts of");
      rest &= ~part;
    }
    assert.equal(rest, 0n);
  }
}

/** All ways to part each portion, all of them with all. */
function cheapest(portions: readonly Portion[], some: Caps): Parts {
  let best: Parts | undefined;
  const chosen: (readonly ImageSet[])[] = [];
  const choose = (nth: number): void => {
    const portion = portions[nth];
    if (portion === undefined) {
      const isBetter = best === undefined || byCost(costOf(portions, chosen), costOf(portions, best)) < 0;
      if (isBetter && keepsCaps(layersOf(portions, chosen), some)) best = [...chosen];
      return;
    }
    for (const way of partings(imagesOf(portion.images))) {
      chosen[nth] = way;
      choose(nth + 1);
    }
  };
  choose(0);
  assert.ok(best !== undefined);
  return best;
}

function partings([first, ...others]: readonly number[]): ImageSet[][] {
  if (first === undefined) return [[]];
  const own = 1n << BigInt(first);
  return partings(others).flatMap((way) => [
    [own, ...way],
    ...way.map((part, i) => [part | own, ...way.filter((_part, at) => at !== i)]),
  ]);
}
