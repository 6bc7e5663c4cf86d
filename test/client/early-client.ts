/**
 * A process with one client, whose checks are held back until it is connected: `early-client.js ENDPOINT [RELEASE]`. They are not where no
 * release is given, which leaves nobody to ask early, nor where it is `unnamed`. Prints an EarlyOutcome.
 */
import { register } from "node:module";
import { StratadClient, StrataError } from "../../src/client/client.js";

export interface EarlyOutcome {
  /** Whether the first answer was checked when the client was connected, or the code that it failed with. */
  readonly connected: boolean | string;
  /** What came of a request. */
  readonly answer?: unknown;
  readonly instanceId?: string;
}

const [, , endpoint = "", release] = process.argv;
const held = new Int32Array(new SharedArrayBuffer(4));
const letGo = () => {
  Atomics.store(held, 0, 1);
  Atomics.notify(held, 0);
};
const hook = `
  let held;
  export const initialize = (data) => { held = data; };
  export function load(url, context, next) {
    if (url.endsWith("/client/checks.js")) Atomics.wait(held, 0, 0);
    return next(url, context);
  }
`;
register(`data:text/javascript,${encodeURIComponent(hook)}`, { data: held });
if (release === undefined || release === "unnamed") letGo();

const codeOf = (thrown: unknown): string => (thrown instanceof StrataError ? thrown.code : String(thrown));

async function connectAndAsk(): Promise<EarlyOutcome> {
  const client = await StratadClient.connect({ endpoint, askEarly: askEarly() });
  const connected = client.isAgreed;
  const asking = client.request("server/drain", {}).catch(codeOf);
  letGo();
  const answer = await asking;
  const outcome = { connected, answer, ...(client.isAgreed ? { instanceId: client.server.instanceId } : {}) };
  await client.close();
  return outcome;
}

function askEarly(): ((said: string) => boolean) | undefined {
  if (release === undefined) return undefined;
  return (said) => {
    // Who is not asked early waits for the check.
    if (said !== release) letGo();
    return said === release;
  };
}

console.log(JSON.stringify(await connectAndAsk().catch((thrown: unknown) => ({ connected: codeOf(thrown) }))));
