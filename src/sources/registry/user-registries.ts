/** How registries are asked for a user: with their credentials, as this release, so many blobs at once. Loads nothing that asks. */
import { MAX_FETCHES, MAX_FETCHES_OF_ONE } from "../../limits.js";
import { SharedSlots } from "../../slots.js";
import { userCredentials } from "./credentials.js";
import type { RegistryOptions } from "./registry-source.js";

export const userRegistries = (insecureHosts: readonly string[], version: string): RegistryOptions => ({
  insecureHosts,
  credentials: userCredentials(process.env),
  userAgent: `stratad/${version}`,
  fetches: new SharedSlots(MAX_FETCHES, { share: MAX_FETCHES_OF_ONE }),
});
