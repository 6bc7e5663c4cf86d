/** What an install may choose between. The daemon's configuration and the store's documents use the same words. */
import { z } from "zod";

export const Overlap = z.enum(["c", "b", "a"]);
export type Overlap = z.infer<typeof Overlap>;
export const LinkMode = z.enum(["hardlink", "reflink", "copy", "symlink"]);
export type LinkMode = z.infer<typeof LinkMode>;
export const Priority = z.enum(["interactive", "normal", "background"]);
export type Priority = z.infer<typeof Priority>;
