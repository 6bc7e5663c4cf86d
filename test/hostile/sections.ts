/** The whole table of hostile inputs, by the page's sections. */
import { type Row, tarSections } from "./rows.js";
import { zstdRows } from "./zstd-rows.js";

export const sections: Readonly<Record<string, readonly Row[]>> = { ...tarSections, zstd: zstdRows };

/** Rows that another engine may read otherwise. */
export const isCompressed = ({ codec = "none" }: Row): boolean => codec !== "none";
