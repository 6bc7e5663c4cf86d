/**
 * Worker entry: the names in the directories of a large store, in parts that a scan takes one by one. A listing of 100,000 would hold the
 * main thread for some frames.
 */
import { readdirSync } from "node:fs";
import { listingOf } from "../src/listed-names.js";
import type { ListResult, ListTask } from "../src/scan-tasks.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";

export default ({ directories, temporary }: ListTask): Promise<Outcome<ListResult>> =>
  outcomeOf("Cannot list the store", () => ({
    listings: directories.map((listed) => listingOf(readdirSync(fromHere(listed.directory)), listed, temporary)),
  }));
