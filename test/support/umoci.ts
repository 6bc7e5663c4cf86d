/**
 * Images made as their authors make them: umoci unpacks an image, the tree is changed, umoci packs what changed as a layer of its own.
 * And umoci as the judge of what any image holds.
 */
import { join } from "node:path";
import type { Sandbox } from "./sandbox.js";

const DEADLINE_MS = 120_000;
const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];

export class UmociImage {
  readonly #sandbox: Sandbox;
  readonly layout: string;
  #bundles = 0;

  private constructor(sandbox: Sandbox, layout: string) {
    this.#sandbox = sandbox;
    this.layout = layout;
  }

  /** A layout with an image `tag` that has no layer. */
  static async create(sandbox: Sandbox, { layout, tag }: { layout: string; tag: string }): Promise<UmociImage> {
    const image = new UmociImage(sandbox, layout);
    await image.#umoci("init", "--layout", layout);
    await image.#umoci("new", "--image", `${layout}:${tag}`);
    return image;
  }

  /** For many changes one after another: unpacks `tag`; each call of what is returned makes a layer of what `change` did, as a new tag. */
  async unpacked(tag: string): Promise<(newTag: string, change: (root: string) => Promise<void>) => Promise<void>> {
    this.#bundles += 1;
    const bundle = `${this.layout}-bundle-${this.#bundles}`;
    await this.#umoci("unpack", ...rootless, "--image", `${this.layout}:${tag}`, bundle);
    return async (newTag, change) => {
      await change(join(bundle, "rootfs"));
      await this.#umoci("repack", "--refresh-bundle", "--image", `${this.layout}:${newTag}`, bundle);
    };
  }

  /** `umoci insert`: a layer of what stands at `source`, or a whiteout, at `target`. */
  insert(tags: { from: string; to: string }, ...args: readonly string[]): Promise<void> {
    const image = ["--image", `${this.layout}:${tags.from}`, "--tag", tags.to];
    return this.#umoci("insert", ...rootless, ...image, ...args);
  }

  /** A layer that is this very tar. */
  add(tags: { from: string; to: string }, tar: string): Promise<void> {
    return this.#umoci("raw", "add-layer", "--image", `${this.layout}:${tags.from}`, "--tag", tags.to, tar);
  }

  /** The tree that umoci makes of the image. */
  async judge(tag: string): Promise<string> {
    const out = `${this.layout}-judged-${tag}`;
    await this.#umoci("raw", "unpack", ...rootless, "--image", `${this.layout}:${tag}`, out);
    return out;
  }

  async #umoci(...args: string[]): Promise<void> {
    await this.#sandbox.must(["umoci", ...args], { deadlineMs: DEADLINE_MS });
  }
}
