/**
 * Worker entry: what a start wants to know of stored layers: their documents, read and checked here, by threads that may wait.
 */
import { StrataError, toStrataError } from "../src/errors.js";
import { type LayerMeta, layerMetaSchema, layerSchema, parseDocument } from "../src/layer-documents.js";
import { READ_RESULT_BYTES } from "../src/limits.js";
import { parseDiffId } from "../src/oci/digest.js";
import { type Outcome, outcomeOf, type ScannedLayer, type ScanResult, type ScanTask } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";
import { readText } from "./read-text.js";

export default (task: ScanTask): Promise<Outcome<ScanResult>> => outcomeOf("Cannot scan the layers", () => scan(task));

function scan(task: ScanTask): ScanResult {
  const layers: ScanResult["layers"][number][] = [];
  let length = 0;
  for (const hex of task.hexes) {
    try {
      const { layer, read } = scanLayer(hex, task);
      layers.push(layer);
      length += read;
    } catch (error) {
      layers.push({ unreadable: toStrataError(error, `Cannot read layer ${hex}`).toWire() });
    }
    if (length >= READ_RESULT_BYTES) break;
  }
  return { layers };
}

function scanLayer(hex: string, task: ScanTask): { readonly layer: ScannedLayer; readonly read: number } {
  const diffId = parseDiffId(`${task.algorithm}:${hex}`);
  const path = fromHere(task.document.join(hex));
  const text = readText(path);
  const document = parseDocument(path, text, layerSchema);
  if (document.diffId !== diffId)
    throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is the document of ${document.diffId}`);
  const meta = readMeta(fromHere(task.meta.join(hex)));
  return { layer: { document, ...(meta === undefined ? {} : { meta }) }, read: text.length };
}

/** Undefined where there is none that can be read. */
function readMeta(path: string): LayerMeta | undefined {
  try {
    return parseDocument(path, readText(path), layerMetaSchema);
  } catch {
    return undefined;
  }
}
