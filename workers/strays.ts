/**
 * Worker entry: what stands in the store about nothing that is there any more.
 */
import { readdirSync } from "node:fs";
import { idsOf } from "../src/listed-names.js";
import type { StraysResult, StraysTask } from "../src/scan-tasks.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";

export default ({ about }: StraysTask): Promise<Outcome<StraysResult>> =>
  outcomeOf("Cannot list the store", () => ({
    strays: about.map(({ known, ...listed }) => {
      const standing = new Set(known.flatMap((part) => part.split("/")));
      const ids = idsOf(readdirSync(fromHere(listed.directory)), listed);
      return ids.filter((id) => !standing.has(id)).map((id) => id + listed.suffix);
    }),
  }));
