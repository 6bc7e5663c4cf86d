/**
 * Lists that come in pages, followed to their end.
 */
import type { StratadClient } from "../client/client.js";
import { MAX_PAGE } from "../limits.js";
import type { Job } from "../messages/job.js";
import type { Layer } from "../messages/layer.js";
import type { Params } from "../messages/methods.js";
import type { Root } from "../messages/root.js";

export const allJobs = (client: StratadClient): Promise<Job[]> =>
  collect(
    (page) => client.request("install/list", page),
    ({ jobs }) => jobs,
  );

export const allRoots = (client: StratadClient): Promise<Root[]> =>
  collect(
    (page) => client.request("root/list", page),
    ({ roots }) => roots,
  );

export const allLayers = (client: StratadClient): Promise<Layer[]> =>
  collect(
    (page) => client.request("layer/list", page),
    ({ layers }) => layers,
  );

async function collect<Answer extends { nextCursor?: string | undefined }, Item>(
  ask: (page: Params<"layer/list">) => Promise<Answer>,
  itemsOf: (answer: Answer) => readonly Item[],
): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | undefined;
  do {
    const answer: Answer = await ask({ limit: MAX_PAGE, ...(cursor === undefined ? {} : { cursor }) });
    items.push(...itemsOf(answer));
    cursor = answer.nextCursor;
  } while (cursor !== undefined);
  return items;
}
