import assert from "node:assert/strict";
import { test } from "node:test";
import { free } from "../src/freed-chunk.js";

test("the memory of a chunk that reaches to its end is given back at once", () => {
  const memory = Buffer.alloc(256 * 1024);
  free(memory.subarray(1024));
  assert.equal(memory.length, 0);
});

test("memory that its maker may go on to fill stays", () => {
  const memory = Buffer.alloc(256 * 1024, 1);
  free(memory.subarray(0, 1024));
  free(memory.subarray(memory.length));
  assert.deepEqual(memory, Buffer.alloc(256 * 1024, 1));
});

test("memory that small Buffers share stays, also where one reaches to its end", () => {
  const { buffer } = Buffer.allocUnsafe(1);
  assert.equal(buffer.byteLength, Buffer.poolSize);
  free(new Uint8Array(buffer));
  assert.equal(buffer.byteLength, Buffer.poolSize);
});
