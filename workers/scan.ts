/**
 * Worker entry: what a start wants to know of stored layers, from their documents. They are read and checked here, by threads that may
 * wait; the main thread gets their texts and what its index is made of.
 */
import { StrataError, toStrataError } from "../src/errors.js";
import { blobKey, type LayerMeta, layerMetaSchema, layerSchema, parseDocument } from "../src/layer-documents.js";
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
      const layer = scanLayer(hex, task);
      layers.push(layer);
      length += layer.document.length + (layer.meta?.length ?? 0);
    } catch (error) {
      layers.push({ unreadable: toStrataError(error, `Cannot read layer ${hex}`).toWire() });
    }
    if (length >= READ_RESULT_BYTES) break;
  }
  return { layers };
}

function scanLayer(hex: string, task: ScanTask): ScannedLayer {
  const diffId = parseDiffId(`${task.algorithm}:${hex}`);
  const [path, metaPath] = [task.document, task.meta].map(([before, behind]) => fromHere(before + hex + behind)) as [
    string,
    string,
  ];
  const text = readText(path);
  const document = parseDocument(path, text, layerSchema);
  if (document.diffId !== diffId)
    throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is the document of ${document.diffId}`);
  const meta = readMeta(metaPath);
  return {
    diffId,
    document: text,
    bytes: document.bytes,
    createdAt: document.createdAt,
    ...(meta === undefined ? {} : { meta: meta.text }),
    durable: meta?.document.durable ?? false,
    blobKeys: meta?.document.blobs.map(blobKey) ?? [],
  };
}

/** Without one that can be read, the layer is as one that was committed just now. */
function readMeta(path: string): { text: string; document: LayerMeta } | undefined {
  try {
    const text = readText(path);
    return { text, document: parseDocument(path, text, layerMetaSchema) };
  } catch {
    return undefined;
  }
}
