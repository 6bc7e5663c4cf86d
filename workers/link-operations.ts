/**
 * The lines of a plan file: what a link task does, in order. The same escaping as the changeset's; written as latin1.
 */
import { escapeField, unescapeField } from "../src/overlap/changeset.js";

export type LinkOperation =
  /** A directory that may be there already, because another range needs it too. */
  | { readonly kind: "ensure"; readonly path: string }
  | { readonly kind: "directory"; readonly path: string; readonly mode: number; readonly mtime: number }
  | { readonly kind: "attributes"; readonly path: string; readonly mode: number; readonly mtime: number }
  | { readonly kind: "link"; readonly path: string; readonly layer: number }
  | { readonly kind: "empty"; readonly path: string; readonly mode: number; readonly mtime: number }
  | { readonly kind: "symlink"; readonly path: string; readonly mtime: number; readonly target: string };

export function encodeOperation(operation: LinkOperation): string {
  const path = escapeField(operation.path);
  switch (operation.kind) {
    case "ensure":
      return `m\t${path}\n`;
    case "directory":
      return `d\t${path}\t${operation.mode}\t${operation.mtime}\n`;
    case "attributes":
      return `t\t${path}\t${operation.mode}\t${operation.mtime}\n`;
    case "link":
      return `f\t${path}\t${operation.layer}\n`;
    case "empty":
      return `z\t${path}\t${operation.mode}\t${operation.mtime}\n`;
    case "symlink":
      return `l\t${path}\t${operation.mtime}\t${escapeField(operation.target)}\n`;
  }
}

/** The operations of a range of the file, read as latin1. */
export function* decodeOperations(text: string): Generator<LinkOperation> {
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf("\n", start);
    const [kind, escaped = "", a = "", b = ""] = text.slice(start, end).split("\t");
    start = end + 1;
    const path = unescapeField(escaped);
    switch (kind) {
      case "m":
        yield { kind: "ensure", path };
        break;
      case "d":
        yield { kind: "directory", path, mode: Number(a), mtime: Number(b) };
        break;
      case "t":
        yield { kind: "attributes", path, mode: Number(a), mtime: Number(b) };
        break;
      case "f":
        yield { kind: "link", path, layer: Number(a) };
        break;
      case "z":
        yield { kind: "empty", path, mode: Number(a), mtime: Number(b) };
        break;
      case "l":
        yield { kind: "symlink", path, mtime: Number(a), target: unescapeField(b) };
        break;
      default:
        throw new Error("not a line of a plan");
    }
  }
}
