/**
 * The protocol as an OpenRPC document: the schemas of methods.ts and notifications.ts as JSON schemas, for clients in other languages.
 * Pure; loaded when somebody asks.
 */
import { z } from "zod";
import { type MethodName, methods } from "./methods.js";
import { notifications } from "./notifications.js";

interface OpenRpcMethod {
  readonly name: MethodName;
  readonly paramStructure: "by-name";
  readonly params: readonly { readonly name: string; readonly required: boolean; readonly schema: object }[];
  readonly result: { readonly name: string; readonly schema: object };
  /** Which sockets take it: `full`, or `read` too. */
  readonly "x-scope": string;
}

export interface OpenRpcDocument {
  readonly openrpc: "1.3.2";
  readonly info: { readonly title: string; readonly version: string };
  readonly methods: OpenRpcMethod[];
  /** What the daemon sends unasked, by method: its params. */
  readonly "x-notifications": Readonly<Record<string, object>>;
}

export function openRpc(version: string): OpenRpcDocument {
  return {
    openrpc: "1.3.2",
    info: { title: "stratad", version },
    methods: Object.entries(methods).map(([name, { scope, params, result }]) => ({
      name: name as MethodName,
      paramStructure: "by-name",
      params: paramsOf(params),
      result: { name: "result", schema: schemaOf(result, "output") },
      "x-scope": scope,
    })),
    "x-notifications": Object.fromEntries(
      Object.entries(notifications).map(([method, params]) => [method, schemaOf(params, "output")]),
    ),
  };
}

function paramsOf(params: z.ZodType): OpenRpcMethod["params"] {
  const { properties = {}, required = [] } = schemaOf(params, "input");
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    required: required.includes(name),
    schema: schema as object,
  }));
}

function schemaOf(schema: z.ZodType, io: "input" | "output") {
  const { $schema: _, ...fields } = z.toJSONSchema(schema, { io });
  return fields;
}
