/**
 * A registry that stops in the middle of a blob until the test says go on: an install stays half done for exactly as long as a
 * test looks at it.
 */
import type { Exchange, Script } from "./registry.js";

export interface Gate {
  /** For `startRegistry`: holds each blob of these digests after `bytes` bytes. */
  readonly script: Script;
  /** Resolves when the first held blob has come to its middle. */
  readonly reached: Promise<void>;
  /** Lets everything through, now and from now on. */
  open(): void;
}

export function gateAt(digests: readonly string[], bytes: number): Gate {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let reach = (): void => undefined;
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  let isOpen = false;
  const hold = async ({ response, body, mediaType }: Exchange, whole: Buffer): Promise<void> => {
    response.writeHead(200, { "content-type": mediaType, "content-length": body?.byteLength ?? 0 });
    response.write(whole.subarray(0, bytes));
    reach();
    await opened;
    response.end(whole.subarray(bytes));
  };
  return {
    reached,
    open: () => {
      isOpen = true;
      open();
    },
    script: async (exchange) => {
      const { request, body } = exchange;
      if (isOpen || body === undefined || !digests.some((digest) => request.path.endsWith(`/blobs/${digest}`)))
        return false;
      await hold(exchange, body);
      return true;
    },
  };
}
