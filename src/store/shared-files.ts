/**
 * Files that layers share (files/), as the store looks after them: made where the setting says so, swept, forgotten. What stands in
 * there, and who may link it, is workers/file-objects.ts's.
 */
import { rename, stat } from "node:fs/promises";
import { ensureDirectory } from "../ensure-directory.js";
import { systemErrorCode } from "../errors.js";
import { succeeds } from "../succeeds.js";
import type { Dedup, SweptFiles } from "../tasks.js";
import type { StoreLayout } from "./layout.js";
import type { Staging } from "./staging.js";

export interface SharedFilesOptions {
  /** Whether layers share files. */
  readonly dedup: Dedup;
  readonly sweepFiles: (files: string) => Promise<SweptFiles>;
}

export class SharedFiles {
  readonly #layout: StoreLayout;
  readonly #staging: Staging;
  readonly #options: SharedFilesOptions;

  constructor(layout: StoreLayout, staging: Staging, options: SharedFilesOptions) {
    this.#layout = layout;
    this.#staging = staging;
    this.#options = options;
  }

  /** Where unpacks find them; undefined where layers share none. */
  get directory(): string | undefined {
    return this.#options.dedup === "files" ? this.#layout.files : undefined;
  }

  async prepare(): Promise<void> {
    if (this.directory !== undefined) await ensureDirectory(this.directory, 0o755);
  }

  /**
   * Gives back the bytes of those that no layer has any more: to be called when layers were removed, whatever the setting is by then.
   * Safe beside unpacks, which trust no object that only they hold. Undefined where no files were ever shared.
   */
  async sweep(): Promise<SweptFiles | undefined> {
    const { files } = this.#layout;
    const isThere = await succeeds(stat(files));
    return isThere ? this.#options.sweepFiles(files) : undefined;
  }

  /** No layer that is unpacked from here on gets a file from one that was damaged. */
  async forget(): Promise<void> {
    await this.#staging.with(async (paths) => {
      try {
        await rename(this.#layout.files, paths.removed(0));
      } catch (error) {
        if (systemErrorCode(error) !== "ENOENT") throw error;
      }
    });
    await this.prepare();
  }
}
