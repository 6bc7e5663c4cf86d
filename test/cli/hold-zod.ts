/** For a command's `--import`: what it loads of zod waits until whoever listens at HOLD_ZOD hangs up. */
import { register } from "node:module";

const hook = `
  import { connect } from "node:net";
  let free;
  const hungUp = () => new Promise((resolve) => connect(process.env.HOLD_ZOD).on("error", () => {}).on("close", resolve).resume());
  export async function load(url, context, next) {
    if (url.includes("/node_modules/zod/")) await (free ??= hungUp());
    return next(url, context);
  }
`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
