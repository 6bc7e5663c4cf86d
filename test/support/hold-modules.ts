/** For a program's `--import`: what it loads of HOLD_MODULES, a pattern of URLs, waits until whoever listens at HOLD_AT hangs up. */
import { register } from "node:module";

const hook = `
  import { connect } from "node:net";
  const { HOLD_MODULES, HOLD_AT } = process.env;
  const held = new RegExp(HOLD_MODULES);
  let free;
  const hungUp = () => new Promise((resolve) => connect(HOLD_AT).on("error", () => {}).on("close", resolve).resume());
  export async function load(url, context, next) {
    if (held.test(url)) await (free ??= hungUp());
    return next(url, context);
  }
`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
