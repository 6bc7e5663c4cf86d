/** `npm run fuzz [RUNS] [SEED]`. */
import { fuzz } from "./fuzz.js";

const [runs = 5000, seed = Date.now() % 2 ** 32] = process.argv.slice(2).map(Number);
const { tried, accepted, refusedByThem, differences } = await fuzz({ runs, seed });
for (const { reader, ours, theirs, archive } of differences)
  console.log(`${JSON.stringify({ reader, ours, theirs })}\n  ${archive.toString("base64")}`);
console.log(
  `seed ${seed}: ${tried} archives, ${accepted} accepted, of which other readers refuse ${refusedByThem} times and read ${differences.length} differently`,
);
process.exitCode = differences.length === 0 ? 0 : 1;
