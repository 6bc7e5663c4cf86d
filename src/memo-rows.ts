/**
 * Things of one kind, their documents as short texts: what all of them say alike stands once, and each can be had alone. Pure.
 */
export interface Thing {
  readonly document: object;
  /** What changes about it. */
  readonly meta?: object;
}

export interface Rows {
  readonly shape: Shape;
  /** One row behind the other. */
  readonly texts: string;
  /** Where each ends. */
  readonly ends: readonly number[];
}

interface Shape {
  /** The key of the document that says what it is of: no row has it. */
  readonly idKey: string;
  /** One of the things, for all that they say alike. */
  readonly like: Thing;
  /** Keys of what they say differently, in the order in which a row has the values; a row of other keys is the whole thing. */
  readonly document: readonly string[];
  readonly meta: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

export function rowsOf(things: readonly Thing[], idKey: string): Rows {
  const shape = shapeOf(things, idKey);
  const keys = keysOf(shape.like);
  const texts: string[] = [];
  const ends: number[] = [];
  let end = 0;
  for (const thing of things) {
    const { document, meta } = thing as { readonly document: Fields; readonly meta?: Fields };
    const isLike = keysOf(thing) === keys;
    const values = () => [...shape.document.map((key) => document[key]), ...shape.meta.map((key) => meta?.[key])];
    const text = JSON.stringify(isLike ? values() : thing);
    texts.push(text);
    end += text.length;
    ends.push(end);
  }
  return { shape, texts: texts.join(""), ends };
}

/** The thing of that id in that row. Throws where the rows were made by other hands. */
export function thingAt({ shape, texts, ends }: Rows, row: number, id: string): Thing {
  const said = JSON.parse(texts.slice(ends[row - 1] ?? 0, ends[row])) as Thing | readonly unknown[];
  if (!Array.isArray(said)) return said as Thing;
  const document: Record<string, unknown> = { ...shape.like.document, [shape.idKey]: id };
  let at = 0;
  for (const key of shape.document) document[key] = said[at++];
  if (shape.like.meta === undefined) return { document };
  const meta: Record<string, unknown> = { ...shape.like.meta };
  for (const key of shape.meta) meta[key] = said[at++];
  return { document, meta };
}

function shapeOf(things: readonly Thing[], idKey: string): Shape {
  const [like = { document: {} }] = things;
  const keys = keysOf(like);
  const others = things.filter((thing) => keysOf(thing) === keys);
  const varying = (part: "document" | "meta"): string[] =>
    Object.keys(like[part] ?? {}).filter((key) => !areSame(others.map((thing) => (thing[part] as Fields)[key])));
  const document = varying("document").filter((key) => key !== idKey);
  return { idKey, like, document, meta: varying("meta") };
}

const keysOf = ({ document, meta }: Thing): string =>
  JSON.stringify([Object.keys(document), meta === undefined ? null : Object.keys(meta)]);

function areSame([first, ...others]: readonly unknown[]): boolean {
  if (typeof first !== "object") return others.every((other) => other === first);
  const text = JSON.stringify(first);
  return others.every((other) => JSON.stringify(other) === text);
}
