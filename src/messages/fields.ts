/** The smallest pieces of the schemas: fields that many messages have. What a client sends is bounded. */
import { z } from "zod";
import { linkModes, overlaps, priorities } from "../choices.js";
import { scopes } from "./protocol.js";

export const text = (max: number) => z.string().min(1).max(max);
export const count = z.number().int().nonnegative();
export const digest = z.string().max(200);
export const time = z.iso.datetime();

export const jobId = z.uuid();
export const name = text(128);
export const overlap = z.enum(overlaps);
export const linkMode = z.enum(linkModes);
export const priority = z.enum(priorities);
export const scope = z.enum(scopes);
