/**
 * What the journal says of a job's life: the entries that a change of its view makes, and the lines that `job/log` answers with.
 *
 * Pure.
 */
import { formatSize } from "../byte-size.js";
import { MAX_JOURNAL_LINE_BYTES } from "../limits.js";
import type { JobLayer, JobLogLine, Job as JobView } from "../messages/job.js";
import { WireErrorSchema } from "../messages/wire-error.js";
import { printable } from "../printable.js";
import type { EntryOf, JobEntry } from "../store/journal-entries.js";
import { slimView } from "./past-job.js";

type LayerEnd = EntryOf<"job.layers">["layers"][number];

/** In the order in which they happen where one view has several. */
export function transitions(last: JobView, view: JobView): JobEntry[] {
  const { jobId, updatedAt: at } = view;
  const entries: JobEntry[] = [];
  if (last.state === "queued" && view.state === "running") entries.push({ kind: "job.started", jobId, at });
  if (last.manifestDigest === undefined && view.manifestDigest !== undefined) {
    const { manifestDigest, platform } = view;
    entries.push({ kind: "job.resolved", jobId, at, manifestDigest, platform });
  }
  const layers = layerEnds(last.layers, view.layers);
  if (layers.length > 0) entries.push({ kind: "job.layers", jobId, at, layers });
  if (last.linked === undefined && view.linked !== undefined) {
    const { files, bytes, copied } = view.linked;
    entries.push({ kind: "job.linked", jobId, at, rootFiles: files, bytes, copied: copied.count });
  }
  if (last.name === undefined && view.name !== undefined && view.root !== undefined) {
    const { name, generation } = view.name;
    entries.push({ kind: "job.named", jobId, at, name, generation, rootId: view.root.rootId });
  }
  if (last.finishedAt === undefined && view.finishedAt !== undefined) entries.push(ended(view));
  return entries;
}

function layerEnds(last: readonly JobLayer[], layers: readonly JobLayer[]): LayerEnd[] {
  return layers.flatMap(({ digest, state, reused, servedBy }, index) => {
    const before = last[index]?.state;
    if (state === before || (state !== "stored" && state !== "failed")) return [];
    const end = state === "failed" ? "failed" : !reused ? "unpacked" : before === "unpacking" ? "joined" : "stored";
    return [{ index, digest, end, ...(servedBy === undefined ? {} : { from: servedBy }) } satisfies LayerEnd];
  });
}

/** A view of so few layers that did not fail is some 100 KiB at the most, whatever else it tells. */
const FEW_LAYERS = 64;

/** A view that may fit no line is journalled without what makes it large; a character takes at most three bytes. */
function ended(view: JobView): JobEntry {
  const { jobId, updatedAt: at, state } = view;
  const mayBeLarge = view.layers.length > FEW_LAYERS || view.error !== undefined;
  const isLarge = mayBeLarge && JSON.stringify(view).length > MAX_JOURNAL_LINE_BYTES / 4;
  return { kind: "job.ended", jobId, at, state, job: isLarge ? slimView(view) : view };
}

/** One line for each entry, and for each layer one of its own. */
export function logLines(entry: JobEntry): JobLogLine[] {
  const { at, kind } = entry;
  const line = (message: string, data: JobLogLine["data"] = {}): JobLogLine => {
    return { at, event: kind.slice("job.".length), message, data };
  };
  switch (entry.kind) {
    case "job.accepted": {
      const { reference, name } = entry.request;
      const as = name === undefined ? "" : ` as ${safe(name)}`;
      return [line(`accepted: ${safe(reference)}${as}`, { request: entry.request })];
    }
    case "job.resumed":
      return [line("taken up again by the next daemon")];
    case "job.started":
      return [line("started")];
    case "job.resolved": {
      const { manifestDigest, platform } = entry;
      return [line(`resolved to ${safe(manifestDigest)} for ${safe(platform)}`, { manifestDigest, platform })];
    }
    case "job.layers":
      return entry.layers.map((layer) =>
        line(`layer ${layer.index}, ${safe(layer.digest)}, ${endWords(layer)}`, { ...layer }),
      );
    case "job.linked": {
      const { rootFiles: files, bytes, copied } = entry;
      const also = copied === 0 || copied === files ? "" : `, ${copied} of them copied`;
      const message = `${copied === files ? "copied" : "linked"} ${files} files, ${formatSize(bytes)}${also}`;
      return [line(message, { files, bytes, copied })];
    }
    case "job.named": {
      const { name, generation, rootId } = entry;
      return [line(`${safe(name)} is generation ${generation}, root ${safe(rootId)}`, { name, generation, rootId })];
    }
    case "job.cancelled":
      return [line("cancelled by a client")];
    case "job.interrupted":
      return [line("interrupted: the daemon stops, the next one goes on")];
    case "job.ended": {
      const error = WireErrorSchema.safeParse(entry.job?.error).data;
      const why = error === undefined ? "" : `: ${error.code}: ${error.message}`;
      return [line(`${entry.state}${why}`, { state: entry.state, ...(error === undefined ? {} : { error }) })];
    }
  }
}

const endsInWords: Readonly<Record<LayerEnd["end"], string>> = {
  stored: "was in the store",
  joined: "was unpacked by another job",
  unpacked: "unpacked",
  failed: "failed",
};

const endWords = ({ end, from }: LayerEnd): string =>
  from === undefined ? endsInWords[end] : `${endsInWords[end]}, from ${safe(from)}`;

/** The journal may have been edited by hand. An error's message is escaped already. */
const safe = (text: unknown): string => printable(String(text), 8192);
