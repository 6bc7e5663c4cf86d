/** Download and unpack at once: over a link on which the download alone takes as long as unpacking alone, which hides least. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { median, timed } from "./measuring.js";
import { ours } from "./ours.js";
import { type Bench, type Contestant, type Row, race } from "./race.js";
import { registryOf } from "./slow-registry.js";

const UNPACK = "stratad, from the layout";
export const DOWNLOAD = "the download alone";
export const OVERLAPPED = "stratad, from the registry";

export async function overlapped(bench: Bench, name: string): Promise<Row[]> {
  const of = { name, input: "many", places: ["tmpfs"] } as const;
  const [alone] = await race(bench, { ...of, runs: Math.min(3, bench.runs), contestants: [ours()] });
  const seconds = median(alone?.samples.map((sample) => sample["wall s"] ?? Number.NaN) ?? []);
  const { about } = await bench.inputs.get("many");
  const bytesPerSecond = about.packed.gzip / seconds;
  bench.say(`a link of ${(bytesPerSecond / 1e6).toFixed(1)} MB/s`);
  const contestants = [
    ours({ name: UNPACK }),
    download(bytesPerSecond),
    ours({ name: OVERLAPPED, registry: bytesPerSecond }),
  ];
  return race(bench, { ...of, contestants });
}

/** In this process, into nothing. */
const download = (bytesPerSecond: number): Contestant => ({
  name: DOWNLOAD,
  open: async ({ scope, input }) => {
    const { url } = await registryOf(scope, input, bytesPerSecond);
    const manifest = (await (await answer(`${url}/v2/${input.name}/manifests/gzip`)).toArray()) as Buffer[];
    const { layers } = JSON.parse(Buffer.concat(manifest).toString()) as { layers: { digest: string }[] };
    const fetchAll = async () => {
      for (const { digest } of layers) {
        const body = await answer(`${url}/v2/${input.name}/blobs/${digest}`);
        body.resume();
        await once(body, "end");
      }
    };
    return async () => ({ "wall s": (await timed(fetchAll)) / 1000 });
  },
});

async function answer(url: string): Promise<IncomingMessage> {
  const [response] = (await once(get(url), "response")) as [IncomingMessage];
  return response;
}
