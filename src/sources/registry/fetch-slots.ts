import { MAX_FETCHES, MAX_FETCHES_OF_ONE } from "../../limits.js";
import { SharedSlots } from "../../slots.js";

/** For blobs that are fetched; owners are registries. */
export const fetchSlots = (): SharedSlots => new SharedSlots(MAX_FETCHES, { share: MAX_FETCHES_OF_ONE });
